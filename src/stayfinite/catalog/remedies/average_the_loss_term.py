"""Average a loss term over its elements instead of adding them up.

What it changes
---------------
The term that drowns the others is a mean: `reduction="sum"` becomes `"mean"`, `.sum()` becomes `.mean()`.

When it helps
-------------
One term of a loss is a sum over samples and elements, the others are means. It is then as many times larger as there are elements,
and its gradient with it.

What it may cost
----------------
The term counts for less. If it is to count for more than a mean does, give it a weight that you have chosen.

Example
-------
::

    loss = F.cross_entropy(scores, y) + F.mse_loss(rebuilt, x)           # was F.mse_loss(rebuilt, x, reduction="sum")
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.sums import as_mean, told_to_sum
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import named_value
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Average the loss term"
CURES = ("dominant-loss-term",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("rows-of-ink",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """At the line of the term that the cause names, where one sum over everything stands that nothing divides."""
    at = pages.load("causes", "dominant-loss-term").locate(case)
    source = Project(sources).get(at.file)
    statement = statement_at(source, at.line) if source is not None else None
    if source is None or statement is None:
        return []
    found = list(_averaged(source, statement))
    return [offered(__name__, sources, found)] if len(found) == 1 else []


def _averaged(source: Source, statement: ast.stmt) -> Iterator[Edit]:
    """For each sum over all elements in `statement` the edit that makes it a mean."""
    for call in ast.walk(statement):
        if not isinstance(call, ast.Call) or _divided(source, call):
            continue
        edit = as_mean(source, call)
        if edit is not None:
            yield edit
            continue
        for made in (call, named_value(source, call.func)):  # the loss, or the module of one
            if isinstance(made, ast.Call):
                yield from (source.replace(word, '"mean"') for word in told_to_sum(made))


def _divided(source: Source, node: ast.expr) -> bool:
    """True for a sum that is divided in its own statement: by a count, as a rule."""
    return any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) and node in ast.walk(one.left) for one in source.above(node))
