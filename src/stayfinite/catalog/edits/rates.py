"""The number in the source that is the learning rate."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping

from stayfinite.catalog import places
from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.seeking import calls, given, node_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.records.incident import Case
from stayfinite.records.location import Location

RATE = re.compile(r"(^|_)(lr|rate|eta|alpha|step_?size|learning_?rate)$", re.IGNORECASE)
"""What people call a learning rate."""


def the_rate(case: Case, sources: Mapping[str, str]) -> tuple[Source, ast.expr, float] | None:
    """The number that is the rate: where it was found to come from, else the only one of its value under the name of a rate."""
    place = places.rate(case)
    if place is not None:
        return number_at(place, sources)
    rates = {value for one in case.configuration.optimizers for rate in one.rates if (value := finite(rate))}
    if len(rates) != 1:
        return None
    (wanted,) = rates
    found = [
        (source, given, wanted) for source in Project(sources).sources.values() for name, given in named_numbers(source)
        if RATE.search(name) and (value := number(given)) is not None and math.isclose(value, wanted, rel_tol=1e-6)
    ]
    return found[0] if len(found) == 1 else None


def named_numbers(source: Source) -> Iterator[tuple[str, ast.expr]]:
    """What stands under a name of its own: an argument, an entry of a dictionary, a field, a default."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value
        elif isinstance(node, ast.Dict):
            yield from ((key.value, value) for key, value in zip(node.keys, node.values, strict=True)
                        if isinstance(key, ast.Constant) and isinstance(key.value, str))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            yield source.segment(target).rpartition(".")[2].strip("]'\""), node.value
        elif isinstance(node, ast.arguments):
            known = [*node.posonlyargs, *node.args]
            yield from ((one.arg, value) for one, value in zip(known[len(known) - len(node.defaults):], node.defaults, strict=True))


def computed(case: Case, sources: Mapping[str, str]) -> list[tuple[Source, ast.expr]]:
    """The formulas of the rate: what is written into the groups of an optimizer, and what the one with the highest rate is built
    with. A rate that is made from the one before (``group["lr"] * 0.5``) is none: it lasts only until the next one."""
    project = Project(sources)
    written_there = [
        (source, node.value) for source in project.sources.values() for node in ast.walk(source.tree)
        if isinstance(node, ast.Assign) and any(_is_entry(one) for one in node.targets)
        and not any(_is_entry(one) for one in ast.walk(node.value))
    ]
    fastest = places.fastest(case)
    source = project.get(fastest.location.file) if fastest is not None else None
    built = calls(source, fastest.location.line, fastest.kind) if source is not None and fastest is not None else []
    built_with = [(source, rate) for call in built[:1] if source is not None and (rate := given(call, "lr", 1)) is not None]
    return [(home, formula) for home, formula in (*written_there, *built_with) if number(formula) is None]


def _is_entry(node: ast.AST) -> bool:
    """Whether it is the rate of a group: ``group["lr"]``."""
    return isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value == "lr"


def number_at(place: Location, sources: Mapping[str, str]) -> tuple[Source, ast.expr, float] | None:
    """The source of `place`, the number that stands there, and its value; ``None`` if none stands there, or it is 0."""
    source = Project({place.file: sources[place.file]}).get(place.file) if place.file in sources else None
    node = node_at(source, place) if source is not None else None
    value = number(node)
    return (source, node, value) if source is not None and node is not None and value else None


def written(value: float) -> str:
    """`value` as people write rates: ``0.012``, ``1.2e-05``."""
    text = f"{value:.6g}"
    return text if "e" in text or "." in text else f"{text}.0"
