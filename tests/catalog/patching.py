"""Cases for patches: a source in which the failing expression stands between « and »."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from catalog.writing import case, stats

from stayfinite.catalog import pages
from stayfinite.catalog.edits.changes import patched
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case, Origin
from stayfinite.records.location import Location
from stayfinite.records.tensor import TensorStats

ZERO = stats("x", zero=1, min=0.0, max=4.0, culprit=0.0)


def marked(text: str, file: str = "train.py") -> tuple[str, Location]:
    """`text` without its marks, and the place between them."""
    start, end = text.index("«"), text.index("»")
    plain = text[:start] + text[start + 1 : end] + text[end + 1 :]
    before, inside = text[:start], text[start + 1 : end]
    lines = plain.replace("\r\n", "\n").split("\n")

    def position(upto: str) -> tuple[int, int]:
        upto = upto.replace("\r\n", "\n")
        return upto.count("\n") + 1, len(upto.rpartition("\n")[2].encode())

    (line, column), (end_line, end_column) = position(before), position(before + inside)
    return plain, Location(file, line, column, end_line, end_column, "", lines[line - 1].strip(), inside)


def born(place: Location, op: str, *inputs: TensorStats, phase: str = "forward", **rest: Any) -> Case:
    """A case whose origin is the operator `op` at `place`."""
    more = {name: rest.pop(name) for name in ("absorbed_at", "scalars", "output") if name in rest}
    origin = Origin(phase, op, f"aten.{op}.default", place, inputs=inputs or (ZERO,), **more)  # type: ignore[arg-type]
    return case(origin, **rest)


def proposals(remedy: str, case: Case, sources: Mapping[str, str]) -> list[Remedy]:
    return list(pages.load("remedies", remedy).propose(case, sources))


def changed(remedy: str, text: str, op: str, *inputs: TensorStats, **rest: Any) -> str | None:
    """The text after the first patch of `remedy`; ``None`` if it has none. The diff must say the same."""
    plain, place = marked(text)
    offers = proposals(remedy, born(place, op, *inputs, **rest), {"train.py": plain})
    fix = next((offer.fix for offer in offers if offer.fix is not None), None)
    if fix is None:
        assert all(offer.applicability == "display-only" and offer.reason for offer in offers)
        return None
    after = patched({"train.py": plain}, fix)["train.py"]
    assert after != plain
    assert fix.diff.startswith("--- a/train.py\n+++ b/train.py\n")
    return after


def changed_lines(before: str, after: str) -> list[str]:
    """Lines of a line-by-line comparison that begin with + or -."""
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[:1] in "+-"]


def added(remedy: str, case: Case, text: str) -> list[list[str]]:
    """The new lines of each patch of `remedy`, without their indentation."""
    found = []
    for offer in proposals(remedy, case, {"train.py": text}):
        if offer.fix is not None:
            after = patched({"train.py": text}, offer.fix)["train.py"]
            found.append([line[2:].strip() for line in changed_lines(text, after) if line.startswith("+")])
    return found
