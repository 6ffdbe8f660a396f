"""Lower the weight of the loss term that dominates.

What it changes
---------------
The number that multiplies the term becomes a hundredth of what it is.

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
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import node_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.catalog.places import made
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Lower the weight of the dominant loss term"
CURES = ("dominant-loss-term",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "its patch is held by tests of the text; no case of the gallery has been run with it yet"

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The number of its weight, wherever it stands; else the number that stands as a factor on the line that weighs it."""
    project = Project(sources)
    place = made(case, "weight", "constant", "default")
    source = project.get(place.file) if place is not None else None
    node = node_at(source, place) if source is not None and place is not None else None
    if node is None:
        guilty = pages.load("causes", "dominant-loss-term").locate(case)
        for term in case.trace.terms:
            at = term.weighted_at if guilty in (term.location, term.weighted_at) else None
            home = project.get(at.file) if at is not None else None
            if home is None or at is None:
                continue
            factors = [
                side for one in ast.walk(home.tree) if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult)
                and one.lineno <= at.line <= (one.end_lineno or 0) for side in (one.left, one.right) if number(side) is not None
            ]
            if len(factors) == 1:
                source, node = home, factors[0]
                break
    value = number(node)
    if source is None or node is None or not value:
        return [offered(__name__, sources, None, says="the source does not show which number weighs the term: make it a hundredth")]
    return [offered(__name__, sources, [source.replace(node, f"{value / 100:.6g}")],
                    says=f"Lower the weight from {value:g} to {value / 100:g}")]
