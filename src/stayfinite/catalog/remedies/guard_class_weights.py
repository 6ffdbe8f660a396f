"""Let a class without samples have a weight of its own.

What it changes
---------------
The count that a class weight is divided by is at least 1.

When it helps
-------------
One over the number of samples of a class is infinite for a class that the split has none of.

What it may cost
----------------
A class that never occurs has the largest weight, and no sample to use it on.

Example
-------
::

    weight = len(y) / (classes * counts.clamp(min=1))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.seeking import node_at, statement_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Count each class at least once"
CURES = ("zero-class-count", "corrupt-buffer")
APPLICABILITY = "safe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("label-weights",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The divisor at the line that makes the weights, as a tensor, an array or a number: a trial tells which it is."""
    project = Project(sources)
    places = [pages.load("causes", name).locate(case) for name in CURES] + [one.location for one in case.makings if one.by == "divide"]
    for at in places:
        source = project.get(at.file)
        if source is None:
            continue
        node = node_at(source, at)
        inside = node if isinstance(node, ast.BinOp) else statement_at(source, at.line)
        divisions = [one for one in ast.walk(inside) if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div)] if inside else []
        if not divisions:
            continue
        divisor = divisions[0].right
        while isinstance(divisor, ast.BinOp) and isinstance(divisor.op, ast.Mult):  # `classes * counts`: the last factor
            divisor = divisor.right if number(divisor.right) is None else divisor.left
        if isinstance(divisor, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)) and "len(" not in source.segment(divisor)[:4]:
            text = source.operand(divisor)
            ways = (f"{text}.clamp(min=1)", f"{text}.clip(1)", f"max({source.argument(divisor)}, 1)")  # a tensor, an array, a number
            return [offered(__name__, sources, [source.replace(divisor, way)]) for way in ways]
    return [offered(__name__, sources, None, says="the source does not show where the weights are made: count each class at least once")]
