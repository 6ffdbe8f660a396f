"""Average instead of adding up.

What it changes
---------------
A sum over many elements that an activation or an exponential is given becomes their mean.

When it helps
-------------
A set, a neighbourhood or a sequence is added up before a tanh: with 200 members the sum lies where the tanh is flat.

What it may cost
----------------
How many members there were is no longer to be seen in the result.

Example
-------
::

    pooled = h.mean(dim=1)                           # was h.sum(dim=1)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import assigned_names
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import View, view
from stayfinite.catalog.remedy import Scene, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Average instead of adding up"
CURES = ("saturated-activation", "exp-overflow", "unscaled-input")
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("point-cloud-sets",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where the first operand of the operator at the origin is a sum over a dimension."""
    if case.origin is None:
        return []
    scene = Scene(case, sources)
    if scene.source is None or scene.view is None or scene.view.first is None:
        return []
    made = [(one.source, one.value) for one in scene.project.made(scene.source, scene.view.first)]
    before = _just_before(scene.source, scene.view.first)
    for source, value in [*made, *([(scene.source, before)] if before is not None else [])]:
        seen = view(source, value)
        if seen is not None and seen.name == "sum" and _over_a_dimension(seen) and isinstance(seen.node, ast.Call):
            text = source.segment(seen.node.func)
            edits = [source.replace(seen.node.func, text[: -len("sum")] + "mean")] if text.endswith("sum") else []
            return [offered(__name__, sources, edits)] if edits else []
    return []


def _just_before(source: Source, operand: ast.expr) -> ast.expr | None:
    """What the nearest statement before in the same block gave the name `operand`: a name may be bound again and again."""
    statement = source.statement(operand)
    block = source.block(statement) if statement is not None else []
    if not isinstance(operand, ast.Name) or statement not in block:
        return None
    for one in reversed(block[: block.index(statement)]):
        if operand.id in {getattr(target, "id", "") for target in assigned_names(one)}:
            return one.value if isinstance(one, ast.Assign) and len(one.targets) == 1 else None
    return None


def _over_a_dimension(seen: View) -> bool:
    return seen.option("dim", 1, "axis") is not None
