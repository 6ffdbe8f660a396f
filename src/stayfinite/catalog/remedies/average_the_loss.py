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

from stayfinite.catalog.edits.seeking import called, differentiated, every_call
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import view
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
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
    edits = list(dict.fromkeys(_averaged(project, *losses[0])))
    if not edits and not any(_is_quotient(made) for _, made in _through_functions(project, *losses[0])):
        edits = [source.set_keyword(call, "reduction", '"mean"') for source, call in _summing(project)]
    cost = "for SGD the learning rate has to be chosen anew"
    return [offered(__name__, sources, edits, cost=cost)] if len(edits) == 1 else []


def _averaged(project: Project, source: Source, loss: ast.expr) -> Iterator[Edit | None]:
    for made in _through_functions(project, source, loss):
        seen = view(made[0], made[1])
        whole = seen is not None and seen.name == "sum" and len(seen.operands) == 1 and not seen.options
        if seen is not None and whole and isinstance(seen.node, ast.Call):
            text = made[0].segment(seen.node.func)
            yield made[0].replace(seen.node.func, text.removesuffix("sum") + "mean") if text.endswith("sum") else None


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


def _summing(project: Project) -> list[tuple[Source, ast.Call]]:
    """Losses that are told to add up."""
    every = {called(node) for source in project.sources.values() for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
    return [(source, call) for source, call in every_call(project, *every) if any(
        one.arg == "reduction" and isinstance(one.value, ast.Constant) and one.value.value == "sum" for one in call.keywords
    )]
