"""Average the loss instead of adding it up.

What it changes
---------------
The sum over all elements that the backward pass begins with becomes their mean: `error.square().sum()` becomes
`error.square().mean()`, and `reduction="sum"` becomes `reduction="mean"`.

When it helps
-------------
The gradient of a sum grows with the batch: twice as many samples are twice the learning rate for SGD, and four times the second
moment for Adam, which ends at 65504 in float16.

What it may cost
----------------
For SGD the gradient is smaller by as much as there are elements: choose the learning rate anew. Beside another term of the loss it
weighs less than before.

Example
-------
::

    loss = (prediction - target).square().mean()     # not .sum()
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog.edits.seeking import differentiated
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.sums import as_mean, told_to_sum
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Average the loss instead of adding it up"
CURES = ("optimizer-arithmetic", "half-precision-overflow", "exploding-gradient", "learning-rate-too-high")
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
OTHER_LOSS = True
EXAMPLES = ("queue-times",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where the only loss that is differentiated is a sum over everything, and nothing divides it."""
    project = Project(sources)
    losses = list(differentiated(project))
    if len(losses) != 1:
        return []
    made = list(_through_functions(project, *losses[0]))
    edits = list(dict.fromkeys(edit for source, node in made if (edit := as_mean(source, node)) is not None))
    if not edits and not any(_is_quotient(node) for _, node in made):
        edits = [source.replace(word, '"mean"') for source in project.sources.values() for call in ast.walk(source.tree)
                 if isinstance(call, ast.Call) for word in told_to_sum(call)]
    cost = "for SGD the learning rate has to be chosen anew"
    return [offered(__name__, sources, edits, cost=cost)] if len(edits) == 1 else []


def _through_functions(project: Project, source: Source, loss: ast.expr) -> Iterator[tuple[Source, ast.expr]]:
    """What the loss was given, and what a function of the user's that it calls returns."""
    for made in project.made(source, loss):
        yield made.source, made.value
        known = project.defined(made.source, made.value) if isinstance(made.value, ast.Call) else None
        if known is not None:
            home, function = known
            for one in ast.walk(function):
                if isinstance(one, ast.Return) and one.value is not None:
                    yield from ((deeper.source, deeper.value) for deeper in project.made(home, one.value))


def _is_quotient(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
