"""Changes of the same kind where they should not matter.

"With a rate of 0 it did not fail" would confirm any cause: a step that is changed enough passes. So a change counts only if a
placebo, as much change in another place, leaves the failure there. Which placebo fits follows from the kind of the change; a
change without one confirms nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stayfinite.catalog.predictions import left_out
from stayfinite.records.incident import Case
from stayfinite.records.intervention import (
    Bypassed,
    Damped,
    Format,
    Intervention,
    Place,
    Precision,
    Rows,
    Scaled,
    Stable,
    State,
    Term,
    Update,
    Values,
    Within,
)
from stayfinite.records.trace import LossTerm

DRAWS = 3
"""Draws of other samples: with one, a second bad sample could be drawn by chance."""
ELSEWHERE = 2
"""Other operations that are tried."""


def placebos(change: Intervention, case: Case, seen: Sequence[Place]) -> list[Intervention]:
    """Placebos for `change`, best first; of `seen`, the lines that compute, those near the changed one come first."""
    if isinstance(change, Within):
        return [msgspec.structs.replace(change, others=True), *_elsewhere("float64", change.place, seen, case)]
    if isinstance(change, Precision):
        form: Format = "float64" if change.format == "int64" else change.format  # most lines compute with no whole numbers
        return _elsewhere(form, change.place or _origin(case), seen, case)
    if isinstance(change, (Stable, Bypassed)):
        return _elsewhere("float64", change.place, seen, case)
    if isinstance(change, Rows):
        return _other_rows(change)
    if isinstance(change, (Values, Scaled)):
        return [msgspec.structs.replace(change, others=True)]
    if isinstance(change, Damped):
        return [Damped(place, change.limit) for place in _lines_near(change.place, seen, case)]
    if isinstance(change, Term):
        return [left_out(term) for term in _other_terms(change, case)]
    if isinstance(change, State):
        return _other_state(change, case)
    return []


def over_steps(change: Intervention) -> Intervention | None:
    """The placebo of a change that is performed in every step: a hundredth of the dose. If that much cures too, anything does."""
    if isinstance(change, Update) and change.rate < 1.0:
        return msgspec.structs.replace(change, rate=1.0 - 0.01 * (1.0 - change.rate))
    if isinstance(change, Update) and change.clip:  # clipping at any limit stops a gradient that is about to overflow
        return Update(rate=0.99, optimizer=change.optimizer)
    return None


def enough(change: Intervention) -> int:
    """How many placebos must still fail."""
    return DRAWS if isinstance(change, Rows) else 1


def _origin(case: Case) -> Place | None:
    origin = case.origin
    return Place(origin.op, origin.location.file, origin.location.line) if origin is not None and origin.location.file else None


def _elsewhere(form: Format, place: Place | None, seen: Sequence[Place], case: Case) -> list[Intervention]:
    """The operations of other lines, the one that runs next first (the one that ran last, where an exception ends the step); then
    others of the same line."""
    if place is None:
        return []
    near = _lines_near(place, seen, case)
    here = [other for other in seen if (other.file, other.line) == (place.file, place.line)]
    # a change to the whole line has none beside it
    beside = [Place(other.kind, other.file, other.line) for other in here if place.kind and other.kind != place.kind]
    found: list[Intervention] = [Precision(form, other) for other in (*near, *dict.fromkeys(beside[:1]))]
    if form == "float32":  # most lines compute in it anyway
        found += [Precision("float64", other) for other in (*near, *beside)[:1]]
    return found


def _lines_near(place: Place, seen: Sequence[Place], case: Case) -> list[Place]:
    """The lines of `seen` other than that of `place`, the one that runs next first (the one that ran last, where an exception
    ends the step)."""
    here = [number for number, other in enumerate(seen) if (other.file, other.line) == (place.file, place.line)]
    middle = here[0] if here else len(seen)
    lines: dict[tuple[str, int], int] = {}
    for number, other in enumerate(seen):
        if (other.file, other.line) != (place.file, place.line):
            wanted = (number > middle) != (case.exception is not None)
            lines.setdefault((other.file, other.line), abs(number - middle) + (0 if wanted else len(seen)))
    return [Place("", *line) for line in sorted(lines, key=lambda line: lines[line])[:ELSEWHERE]]


def _other_rows(change: Rows) -> list[Intervention]:
    """Equally many samples, disjoint from those that were replaced, drawn at even distances."""
    left = [row for row in range(change.size) if row not in change.rows]
    count = len(change.rows)
    if len(left) <= count:  # nothing would be left to replace them with
        return []
    draws: list[Intervention] = []
    for draw in range(DRAWS):
        start = (draw * len(left)) // DRAWS
        rows = tuple(sorted(left[(start + place) % len(left)] for place in range(count)))
        if not any(isinstance(known, Rows) and known.rows == rows for known in draws):
            draws.append(Rows(rows, change.size))
    return draws


def _other_state(change: State, case: Case) -> list[Intervention]:
    """The same repair elsewhere; numbers of the same size in another order."""
    if change.how == "mended":
        return [msgspec.structs.replace(change, others=True)]
    found: list[Intervention] = []
    if change.how in ("redrawn", "scaled-draw", "zeroed"):
        found.append(msgspec.structs.replace(change, how="shuffled"))
    if change.what == "parameters" and change.names:
        others = [stats.name for stats in case.parameters if stats.name not in change.names and not stats.nonfinite]
        found += [State(change.what, change.how, (name,)) for name in others[:ELSEWHERE]]
    return found


def _other_terms(change: Term, case: Case) -> list[LossTerm]:
    others = [term for term in case.trace.terms if term.name != change.name and term.location.file]
    here = change.place.file, change.place.line, change.expression
    return [term for term in others if (term.location.file, term.location.line, term.location.expression) != here]
