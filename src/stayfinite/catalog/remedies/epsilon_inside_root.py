"""Add a small number inside of the root.

What it changes
---------------
`sqrt(x)` becomes `sqrt(x + eps)`, `x ** 0.5` becomes `(x + eps) ** 0.5`, a norm becomes the root of the sum of squares + eps, and a
standard deviation the root of the variance + eps. The number stands inside: behind the root it would come too late. A length that
is divided by gets 1e-6.

When it helps
-------------
A root has an infinite slope at 0. Two equal points, a zero vector or a constant column are enough: infinity times the 0 of what
was squared is NaN, in the backward pass alone.

What it may cost
----------------
Values below the root of eps are a little too large. The slope at 0 is finite and large, 0.5 / sqrt(eps).

Example
-------
::

    distance = torch.sqrt(((a - b) ** 2).sum(dim=1) + 1e-12)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.clues import born_backward
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import View, number, view
from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Add a small number inside of the root"
CURES = ("singular-gradient", "where-gradient-trap", "zero-norm-vector", "degenerate-batch-statistics", "zero-variance-feature")
APPLICABILITY = "safe"
EXAMPLES = ("duplicate-pair", "critic-penalty")

_ROOTS = frozenset({"sqrt", "rsqrt", "norm", "pow", "std", "distance"})
NOISE = "1e-6"
"""What is added to a squared length that is divided by: the slope at 0 is a thousand then, and a vector that begins at 0 can grow."""
EPSILON = {"float16": "1e-6", "bfloat16": "1e-6", "float64": "1e-24"}
"""Half of the digits of the format, squared: float32 keeps 1e-12 beside numbers up to 1e-5. float16 holds nothing below 6e-8."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin is a root."""
    if case.origin is not None and case.origin.op == "div":
        return _divided(case, sources)
    if case.origin is None or case.origin.op not in _ROOTS:
        return []
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    form = Stable(place(case), "epsilon-inside")
    if source is None or seen is None:
        return [offered(__name__, sources, None, form, says="the root is not written at that line, so that there is nothing to edit: "
                        "add 1e-12 to what goes into it")]
    eps = EPSILON.get(case.origin.inputs[0].dtype if case.origin.inputs else "", "1e-12")
    edits = _edits(source, seen, eps, fractional=born_backward(case))
    return [offered(__name__, sources, edits, form)] if edits is not None else []


def _divided(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin divides by a length: the number goes into the length."""
    scene = Scene(case, sources)
    if scene.source is None or scene.view is None or len(scene.view.operands) < 2:
        return []
    for made in scene.project.made(scene.source, scene.view.operands[1]):
        seen = view(made.source, made.value)
        if seen is not None and seen.name in ("norm", "sqrt"):
            edits = _edits(made.source, seen, NOISE, fractional=False)
            return [offered(__name__, sources, edits, applicability="unsafe")] if edits is not None else []
    return []


def _edits(source: Source, seen: View, eps: str, *, fractional: bool) -> list[Edit | None] | None:
    """`fractional`: a power whose exponent the source does not show is below 1, as its slope alone was not finite."""
    first = seen.first
    if first is None or seen.package == "math":
        return None
    if seen.name in ("sqrt", "rsqrt"):
        return [source.replace(first, _plus(source, seen, first, eps))]
    if seen.name == "pow":
        power = number(seen.operands[1]) if len(seen.operands) > 1 else None
        if not (fractional if power is None else power < 1.0):
            return None
        return [source.replace(first, _plus(source, seen, first, eps))]
    if seen.name == "std":
        return _spread(source, seen, eps)
    return _norm(source, seen, eps)


def _plus(source: Source, seen: View, first: ast.expr, eps: str) -> str:
    """`first` + eps, in parentheses unless it is the argument of a function."""
    text = source.segment(first)
    if isinstance(first, (ast.IfExp, ast.Lambda, ast.NamedExpr, ast.Compare, ast.BoolOp, ast.GeneratorExp)):
        text = f"({text})"
    bare = seen.spelled == "function" or _parenthesised(source, first)
    return f"{text} + {eps}" if bare else f"({text} + {eps})"


def _parenthesised(source: Source, node: ast.expr) -> bool:
    """True if `node` stands in parentheses of its own: ``(a + b).sqrt()``."""
    line = source.lines[node.lineno - 1].encode()
    end = source.lines[(node.end_lineno or 1) - 1].encode()
    before, after = line[: node.col_offset].rstrip(), end[node.end_col_offset or 0 :].lstrip()
    return before.endswith(b"(") and after.startswith(b")")


def _spread(source: Source, seen: View, eps: str) -> list[Edit | None] | None:
    """``x.std(dim=0)`` as ``(x.var(dim=0) + eps).sqrt()``."""
    if not isinstance(seen.node, ast.Call) or not isinstance(seen.node.func, ast.Attribute):
        return None
    text = source.segment(seen.node)
    head = source.segment(seen.node.func)
    if not head.endswith("std") or not text.startswith(head):
        return None
    return [source.replace(seen.node, f"({head[:-3]}var{text[len(head):]} + {eps}).sqrt()")]


def _norm(source: Source, seen: View, eps: str) -> list[Edit | None] | None:
    """A 2-norm as the root of a sum of squares."""
    whole = seen.name == "norm" and seen.spelled in ("function", "method")
    if not whole or seen.first is None:
        return None
    dotted = source.qualified(seen.node.func) if isinstance(seen.node, ast.Call) else ""
    order = seen.option("p" if "linalg" not in dotted else "ord", 1)
    given = order is not None and not (isinstance(order, ast.Constant) and order.value in (None, "fro"))
    if dotted.endswith("matrix_norm") or (given and number(order) != 2.0):
        return None
    dim, keep = seen.option("dim", 2, "axis"), seen.option("keepdim", 3)
    inside = [f"dim={source.segment(dim)}"] if dim is not None else []
    inside += [f"keepdim={source.segment(keep)}"] if keep is not None else []
    return [source.replace(seen.node, f"({source.operand(seen.first)}.square().sum({', '.join(inside)}) + {eps}).sqrt()")]
