"""Let a class without samples have a weight of its own.

What it changes
---------------
The count that a class weight is divided by is at least 1; a share of 0 becomes 1, and all others stay as they are. What is no
whole number, or what a layer made, is no count and gets no floor.

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
import re
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.seeking import node_at, statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number, view
from stayfinite.catalog.remedies.keep_inside_domain import LEARNED
from stayfinite.catalog.remedy import chosen, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.location import Location

TITLE = "Count each class at least once"
CURES = ("zero-class-count", "corrupt-buffer")
APPLICABILITY = "safe"
SAME_FUNCTION = True
EXACT = True
BREADTH = 1
ON_STEP = False
EXAMPLES = ("label-weights", "leaf-disease", "camera-traps")

_SHARES = re.compile(r"shares?\b|freq|frac|prior|prob|ratio|proportion|normalize=True", re.I)
_TOTAL = re.compile(r"\blen\(|\.?\bsum\(|total|\.numel\(|\bn\b|size", re.I)
_DIVISIONS = frozenset({"div", "reciprocal", "pow", "rsqrt"})
_LOGARITHMS = frozenset({"log", "log2", "log10", "xlogy"})


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
        counted = _counted(source, inside) if case.origin is not None and case.origin.op in _LOGARITHMS and inside is not None else None
        if counted is not None:
            return [offered(__name__, sources, [source.replace(counted, way)]) for way in _at_least_once(source, counted)]
        if case.origin is not None and case.origin.phase == "backward" and case.origin.op in _LOGARITHMS:
            continue  # its 0 stands above the fraction line, and what is below may be a prediction: a floor there hides its gradient
        if _is_not_counted(case, at):
            continue
        divisors = [found for one in (ast.walk(inside) if inside is not None else ()) if (found := _divisor(source, one)) is not None]
        if not divisors:
            continue
        divisor = divisors[0]
        while isinstance(divisor, ast.BinOp) and isinstance(divisor.op, ast.Mult):  # `classes * counts`: the last factor
            divisor = divisor.right if number(divisor.right) is None else divisor.left
        if isinstance(divisor, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)) and "len(" not in source.segment(divisor)[:4]:
            instead = chosen(source, divisor, "({x} + ({x} == 0))", "counts")
            shares = offered(__name__, sources, instead, says="Let what does not occur have a count of 1")
            if _are_shares(project, source, divisor):
                return [shares]
            floored = [offered(__name__, sources, [source.replace(divisor, way)]) for way in _at_least_once(source, divisor)]
            return [*floored, shares] if _is_division(source, divisors[0]) else [shares, *floored]
    return [offered(__name__, sources, None, says="the source does not show where the weights are made: count each class at least once")]


def _at_least_once(source: Source, count: ast.expr) -> tuple[str, str, str]:
    """`count`, or 1 where it is less: a tensor, an array, a number."""
    text = source.operand(count)
    return f"{text}.clamp(min=1)", f"{text}.clip(1)", f"max({source.argument(count)}, 1)"


def _counted(source: Source, inside: ast.AST) -> ast.expr | None:
    """The counts of which `inside` makes shares, whose logarithm was taken: ``counts`` of ``counts / counts.sum()``."""
    for node in ast.walk(inside):
        seen = view(source, node)
        if seen is not None and seen.name == "div" and len(seen.operands) > 1 and _TOTAL.search(source.segment(seen.operands[1])):
            count = seen.operands[0]
            return count if isinstance(count, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)) else None
    return None


def _divisor(source: Source, node: ast.AST) -> ast.expr | None:
    """What `node` divides by: a division, a power below 0, a reciprocal."""
    seen = view(source, node)
    if seen is None:
        return None
    power = number(seen.operands[1]) if seen.name in ("pow", "power") and len(seen.operands) > 1 else None
    if seen.name in ("reciprocal", "rsqrt") or (power is not None and power < 0.0):
        return seen.first
    return seen.operands[1] if seen.name == "div" and len(seen.operands) > 1 else None


def _are_shares(project: Project, source: Source, divisor: ast.expr) -> bool:
    """True if the divisor says that it is a share, or was made by a division: none reaches 1, and a floor of 1 makes all alike."""
    for made in project.made(source, divisor):
        seen = view(made.source, made.value)
        if _SHARES.search(made.source.segment(made.value)) or (seen is not None and seen.name in ("div", "mean", "softmax")):
            return True
    return False


def _is_not_counted(case: Case, at: Location) -> bool:
    """True if what the failing operator, which stands at `at`, divides by holds other numbers than whole ones from 0 on, or what a layer
    made: a floor of 1 would change it, and hide its gradient, wherever it is below that. A derivative by hand counts nothing either."""
    origin = case.origin
    if origin is None or origin.op not in _DIVISIONS or (origin.location.file, origin.location.line) != (at.file, at.line):
        return False
    if any(one.half == "backward" for one in case.trace.functions):
        return True
    if not origin.inputs:
        return False
    seen = origin.inputs[1] if origin.op == "div" and len(origin.inputs) > 1 else origin.inputs[0]
    ends = [end for end in (finite(seen.min), finite(seen.max)) if end is not None]
    return not LEARNED.isdisjoint(seen.made_by) or not all(end.is_integer() and end >= 0.0 for end in ends)


def _is_division(source: Source, divisor: ast.expr) -> bool:
    """True for a plain division: by counts, as a rule. What is raised to a power may be shares, none of which reaches 1."""
    parent = source.parents.get(divisor)
    return isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Div)
