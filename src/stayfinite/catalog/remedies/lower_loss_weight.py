"""Lower the weight of the loss term that dominates.

What it changes
---------------
The number that multiplies the term becomes a hundredth of what it is, or less where the first loss was in the thousands: the loss then
begins at 1 or below.

When it helps
-------------
A penalty whose gradient is many times that of the task makes the step too long for both.

What it may cost
----------------
The term is enforced less. Watch both terms, not their sum.

Example
-------
::

    loss = task + 0.1 * penalty     # not 10 * penalty
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.rates import named_numbers
from stayfinite.catalog.edits.seeking import node_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.catalog.histories import first_reading
from stayfinite.catalog.places import made
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.numbers import to_float
from stayfinite.records.trace import LossTerm

TITLE = "Lower the weight of the dominant loss term"
CURES = ("dominant-loss-term",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("plate-residual",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The number of its weight, wherever it stands; else the number that stands as a factor on the line that weighs it, or under the
    name of that factor."""
    project = Project(sources)
    place = made(case, "weight", "constant", "default")
    source = project.get(place.file) if place is not None else None
    node = node_at(source, place) if source is not None and place is not None else None
    if source is None or node is None:
        source, node = next(iter(_factors(case, project)), (None, None))
    value = number(node)
    if source is None or node is None or not value:
        return [offered(__name__, sources, None, says="the source does not show which number weighs the term: make it a hundredth")]
    lower = value * _share(case)
    return [offered(__name__, sources, [source.replace(node, f"{lower:.6g}")], says=f"Lower the weight from {value:g} to {lower:g}")]


def _factors(case: Case, project: Project) -> Iterator[tuple[Source, ast.expr]]:
    """For each term that may be the dominant one the only number that it is multiplied with."""
    guilty = pages.load("causes", "dominant-loss-term").locate(case)
    for term in case.trace.terms:
        at = term.weighted_at if guilty in (term.location, term.weighted_at) else None
        home = project.get(at.file) if at is not None else None
        if home is None or at is None:
            continue
        sides = [
            side for one in ast.walk(home.tree) if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult)
            and one.lineno <= at.line <= (one.end_lineno or 0) for side in (one.left, one.right)
        ]
        found = [(home, side) for side in sides if number(side) is not None] or _under_names(sides, home, term, project)
        if len(found) == 1:
            yield found[0]


def _under_names(sides: Sequence[ast.expr], home: Source, term: LossTerm, project: Project) -> list[tuple[Source, ast.expr]]:
    """Every number of the weight's value that stands under the name of a factor: a constant, a default, an option."""
    weight = to_float(term.weight)
    names = {home.segment(side).rpartition(".")[2] for side in sides if isinstance(side, (ast.Name, ast.Attribute))}
    return [
        (source, given) for source in project.sources.values() for name, given in named_numbers(source)
        if name in names and (value := number(given)) is not None and math.isclose(value, weight, rel_tol=1e-3)
    ]


def _share(case: Case) -> float:
    """What is left of the weight: a hundredth, or the power of ten with which the very first loss would have been 1 at most."""
    first = first_reading(case, "loss")
    return 10.0 ** min(-2, -math.ceil(math.log10(first))) if first is not None and first > 0.0 else 0.01
