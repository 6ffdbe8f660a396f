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
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import attribute_value, module_value, view
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
    found = [edit for edit in _averaged(source, statement) if edit is not None]
    return [offered(__name__, sources, found)] if len(found) == 1 else []


def _averaged(source: Source, statement: ast.stmt) -> Iterator[Edit | None]:
    """For each sum over all elements in `statement` the edit that makes it a mean."""
    for call in ast.walk(statement):
        if not isinstance(call, ast.Call) or _divided(source, call):
            continue
        seen = view(source, call)
        if seen is not None and seen.name == "sum" and seen.package in ("", "torch") and _of_everything(call, method=not seen.package):
            text = source.segment(call.func)
            yield source.replace(call.func, text[: -len("sum")] + "mean") if text.endswith("sum") else None
            continue
        for made in (call, _constructor(source, call.func)):
            yield from (source.replace(keyword.value, '"mean"') for keyword in (made.keywords if made is not None else ())
                        if keyword.arg == "reduction" and isinstance(keyword.value, ast.Constant) and keyword.value.value == "sum")


def _of_everything(call: ast.Call, *, method: bool) -> bool:
    """True for a sum that is one number: a sum over a dimension is usually part of the formula."""
    return not call.keywords and len(call.args) == (0 if method else 1)


def _constructor(source: Source, called: ast.expr) -> ast.Call | None:
    """The call that made the loss module `called`."""
    made = (attribute_value(source, called) if isinstance(called, ast.Attribute)
            else module_value(source, called) if isinstance(called, ast.Name) else None)
    return made if isinstance(made, ast.Call) else None


def _divided(source: Source, node: ast.expr) -> bool:
    """True for a sum that is divided in its own statement: by a count, as a rule."""
    return any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) and node in ast.walk(one.left) for one in source.above(node))
