"""Subtract the largest argument before a softmax that is written out.

What it changes
---------------
`exp(z) / exp(z).sum(1)` becomes `exp(z - z.amax(1)) / ...`: numerator and denominator are divided by the same number, so the quotient
stays as it is.

When it helps
-------------
exp overflows above 88 in float32 and 11 in float16. With the largest argument subtracted, the largest power is 1.

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
from stayfinite.catalog.edits.tracing import uses
from stayfinite.catalog.edits.views import View, named, view
from stayfinite.catalog.remedy import Scene, chosen, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Subtract the largest argument before exponentiating"
CURES = ("naive-softmax-overflow", "exp-overflow", "compiler-or-kernel-fault")
APPLICABILITY = "safe"
EXAMPLES = ("naive-softmax-overflow",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the powers are divided by their sum in the same function."""
    if case.origin is None or case.origin.op != "exp":
        return []
    scene = Scene(case, sources, named("exp"))
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None or seen.package == "math":
        return []
    form = Stable(place(case), "shifted-softmax")
    dim = _normalised_over(source, seen) or _normalised_in(scene, source, seen)
    if dim is None:
        return []
    return [offered(__name__, sources, chosen(source, seen.first, f"{{x}} - {{x}}.amax({dim}, keepdim=True)", "scores", "logits"), form)]


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


def _normalised_over(source: Source, seen: View) -> str | None:
    """The dimension over which the powers are summed to be divided by, as it is written; ``None`` if they are not."""
    statement = source.statement(seen.node)
    scope = source.scope(seen.node)
    roots: list[ast.expr] = [seen.node]
    if isinstance(statement, ast.Assign) and statement.value is seen.node and isinstance(statement.targets[0], ast.Name):
        roots += uses(scope, statement.targets[0].id)
    divides = any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) for one in ast.walk(scope))
    for node in ast.walk(scope):
        summed = view(source, node)
        if summed is None or summed.name != "sum" or not summed.operands or not divides:
            continue
        first = summed.operands[0]
        dim = summed.option("dim", 1, "axis")
        text = source.segment(first)
        if dim is not None and any(text == source.segment(root) for root in roots):
            return f"dim={source.segment(dim)}"
        # `(weight * experts).sum(1) / weight.sum(1)`: the sum of the powers alone stands beside it
    return None
