"""Subtract the largest argument before a softmax that is written out.

What it changes
---------------
`exp(z) / exp(z).sum(1)` becomes `exp(z - z.amax(1)) / ...`: numerator and denominator are divided by the same number, so the quotient
stays as it is. Powers that are multiplied with a mask lose the largest score of those that the mask leaves.

When it helps
-------------
exp overflows above 88 in float32 and 11 in float16. With the largest argument subtracted, the largest power is 1. Where the same
powers are summed over rows and over columns, the largest of all is subtracted.

What it may cost
----------------
Nothing. `torch.softmax` does the same and is shorter.

Example
-------
::

    e = torch.exp(z - z.amax(dim=1, keepdim=True))
    p = e / e.sum(dim=1, keepdim=True)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project, uses
from stayfinite.catalog.edits.views import View, named, number, view
from stayfinite.catalog.remedy import Scene, chosen, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Subtract the largest argument before exponentiating"
CURES = ("naive-softmax-overflow", "exp-overflow", "compiler-or-kernel-fault")
APPLICABILITY = "safe"
SAME_FUNCTION = True
EXAMPLES = ("naive-softmax-overflow", "causal-by-hand")

_MASKS = frozenset({"mul", "where", "masked_fill"})
"""What leaves some of the powers out before they are summed."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the powers are divided by their sum in the same function."""
    if case.origin is None or case.origin.op != "exp":
        return []
    scene = Scene(case, sources, named("exp"))
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None or seen.package == "math":
        return []
    dims = _normalised_over(source, seen)
    if not dims and (elsewhere := _normalised_in(scene, source, seen)) is not None:
        dims = [elsewhere]
    if not dims:
        return []
    whole = len(dims) > 1  # of rows and of columns: what all are divided by has to be one number
    form = Stable(place(case), "shifted-softmax", whole=whole)
    mask = _mask(scene.project, source, seen.node)
    kept = "{x}"
    if mask is not None:  # a score that the mask leaves out may be the largest: what is left would then be 0 / 0
        far = "-1e4" if any(stats.dtype == "float16" for stats in case.origin.inputs) else "-1e9"
        kept = "{x}.masked_fill(" + source.operand(mask).replace("{", "{{").replace("}", "}}") + f" == 0, {far})"
    largest = f"{kept}.amax()" if whole else f"{kept}.amax({dims[0]}, keepdim=True)"
    edits = chosen(source, seen.first, f"{kept} - {largest}", "scores", "logits")
    return [offered(__name__, sources, edits, form)]


def _mask(project: Project, source: Source, powers: ast.expr) -> ast.expr | None:
    """What the powers are multiplied with where they are taken; powers of which a 0 is left do not count in the quotient. A plain number
    leaves all of them."""
    product = source.parents.get(powers)
    if not isinstance(product, ast.BinOp) or not isinstance(product.op, ast.Mult):
        return None
    mask = product.right if product.left is powers else product.left
    return None if any(number(made.value) is not None for made in project.made(source, mask)) else mask


def _normalised_in(scene: Scene, source: Source, seen: View) -> str | None:
    """The same where the powers are handed to a function of the user's that divides its parameter by a sum of it."""
    call = source.parents.get(seen.node)
    known = scene.project.defined(source, call) if isinstance(call, ast.Call) and seen.node in call.args else None
    if known is None or not isinstance(call, ast.Call):
        return None
    home, function = known
    names = [one.arg for one in function.args.args if one.arg != "self"]
    at = call.args.index(seen.node)
    for node in ast.walk(function):
        divided = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and at < len(names)
        summed = view(home, node.right) if isinstance(node, ast.BinOp) and divided else None
        if isinstance(node, ast.BinOp) and summed is not None and summed.name == "sum" and summed.first is not None:
            dim = summed.option("dim", 1, "axis")
            same = {home.segment(node.left), home.segment(summed.first)} == {names[at]}
            if same and isinstance(dim, (ast.Constant, ast.UnaryOp)):
                return f"dim={home.segment(dim)}"
    return None


def _normalised_over(source: Source, seen: View) -> list[str]:
    """The dimensions over which the powers are summed to be divided by, as they are written; none if they are not."""
    scope = source.scope(seen.node)
    plain, masked = _carried(source, scope, seen.node)
    divided = [one.left if isinstance(one, ast.BinOp) else one.target for one in ast.walk(scope)
               if isinstance(one, (ast.BinOp, ast.AugAssign)) and isinstance(one.op, ast.Div)]
    numerators = {source.segment(one) for one in divided}
    roots = {source.segment(one) for one in plain} if divided else set()
    roots |= numerators & {source.segment(one) for one in masked}  # `(weight * loss).sum() / n` is no softmax
    found: dict[str, None] = {}
    for node in ast.walk(scope):
        summed = view(source, node)
        if summed is None or summed.name != "sum" or not summed.operands:
            continue
        first = summed.operands[0]
        dim = summed.option("dim", 1, "axis")
        text = source.segment(first)
        if dim is not None and text in roots:
            found[f"dim={source.segment(dim)}"] = None
        # `(weight * experts).sum(1) / weight.sum(1)`: the sum of the powers alone stands beside it
    return list(found)


def _carried(source: Source, scope: ast.AST, node: ast.expr) -> tuple[list[ast.expr], list[ast.expr]]:
    """Where the powers stand in `scope`, under the names that they are given, and where they stand with some of them masked."""
    plain: list[ast.expr] = [node]
    masked: list[ast.expr] = []
    for found in (plain, masked):
        for one in found:  # grows as it goes
            around = source.parents.get(one)
            if isinstance(around, ast.Assign) and around.value is one and isinstance(around.targets[0], ast.Name):
                found += [use for use in uses(scope, around.targets[0].id) if use not in found and use not in plain]
            for outer in (around, source.parents.get(around) if around is not None else None):
                seen = view(source, outer) if isinstance(outer, ast.expr) else None
                if seen is not None and seen.name in _MASKS and one in seen.operands and seen.node not in masked:
                    masked.append(seen.node)
    return plain, masked
