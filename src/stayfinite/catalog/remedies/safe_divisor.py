"""Choose the divisor before dividing.

What it changes
---------------
Where the divisor is exactly 0, the division is by 1 instead: `a / d` becomes `a / d.masked_fill(d == 0, 1.0)`. A count becomes
`count.clamp(min=1)`. All other quotients stay bit for bit.

When it helps
-------------
A constant column has the deviation 0, an empty group the count 0, a padded vector the norm 0: there is nothing to scale, and the
numerator is 0 as well. In a derivative that is written by hand the slope of a length is 0 / 0 at the point 0, and taken to be 0.
It is no cure for a quotient like `sin(x) / x` or `x / expm1(x)`, which is 0 / 0 at 0 and has the limit 1 there, nor for its slope.

What it may cost
----------------
Where the numerator is not 0, the result there is the numerator itself: say so, if that is not what you mean.

Example
-------
::

    scaled = centred / spread.masked_fill(spread == 0, 1.0)
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.seeking import called
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import View, number, of_kind
from stayfinite.catalog.remedy import Scene, chosen, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case, Origin
from stayfinite.records.intervention import Stable
from stayfinite.records.tensor import TensorStats

TITLE = "Choose the divisor before dividing"
CURES = (
    "division-by-zero", "zero-norm-vector", "zero-variance-feature", "zero-class-count", "empty-pooling-window",
    "degenerate-normalization", "empty-reduction", "degenerate-batch-statistics", "where-gradient-trap", "infinity-arithmetic",
    "optimizer-arithmetic", "compiler-or-kernel-fault",
)
APPLICABILITY = "safe"
SAME_FUNCTION = True
EXACT = True
EXAMPLES = ("division-by-zero", "digits-closeup", "dropped-edges")

_DIVISIONS = frozenset({"div", "reciprocal", "pow", "rsqrt"})
_ODD = frozenset({"sin", "tan", "sinh", "tanh", "asin", "atan", "asinh", "atanh", "arcsin", "arctan", "arcsinh", "arctanh", "erf"})
"""Functions that are odd: over their argument they are even, and flat at 0."""
_SMOOTH = _ODD | {"cos", "cosh", "exp", "expm1", "log", "log1p", "softplus", "sigmoid"}
"""Functions whose quotient with their argument has a limit where both are 0."""
_LENGTHS = frozenset({"norm", "vector_norm", "sqrt", "hypot", "cdist", "abs", "pairwise_distance"})
"""What makes a length, which has no slope at the point 0."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin divides by a tensor that holds a 0."""
    if case.origin is None or not (case.origin.op in _DIVISIONS or _inside_update(case.origin)):
        return []
    derivative = _inside_derivative(case)
    if derivative and any(finite(one.culprit) != 0.0 for one in case.origin.inputs):
        return []  # a slope that is not 0 / 0 has a limit that the source does not tell
    scene = Scene(case, sources, of_kind("div") if _inside_update(case.origin) else None)
    source, seen = scene.source, scene.view
    if source is None or seen is None:
        return []
    if derivative and not _is_flat(source, seen):
        return []  # other slopes that are 0 / 0 have a limit, and it is not 0 as a rule
    form = Stable(place(case, "div" if _inside_update(case.origin) else None), "safe-divide")
    divisor, stats = _divisor(case, seen)
    if divisor is None:
        return []
    if not derivative and _has_limit(case, scene, seen):
        return [offered(__name__, sources, None, form, says=f"`{source.segment(seen.node)}` is 0 / 0 there and has a limit, which is not "
                        "0 as a rule: choose the limit, or a few terms of the series, where the divisor is next to 0")]
    if stats is None:
        return [offered(__name__, sources, None, form, says=f"`{source.segment(divisor)}` is a plain number: choose it before "
                        "dividing, or leave the division out where it is 0")]
    if finite(stats.min) is not None and not stats.zero:
        return []
    return [offered(__name__, sources, _edits(source, seen, divisor, stats), form)]


def _inside_derivative(case: Case) -> bool:
    """A division in a backward pass that is written by hand: the slope at the point where direction and length are both 0."""
    written = case.origin is not None and case.origin.location.function.endswith(".backward")
    return written and any(one.half == "backward" for one in case.trace.functions)


def _is_flat(source: Source, seen: View) -> bool:
    """Whether the function whose derivative `seen` stands in has a slope of 0 where that is 0 / 0, by its forward method: a length,
    where 0 is a slope by right, or an odd function over its argument, which is even."""
    inside: ast.AST | None = seen.node
    while inside is not None and not isinstance(inside, ast.ClassDef):
        inside = source.parents.get(inside)
    parts = inside.body if isinstance(inside, ast.ClassDef) else []
    forward = [part for part in parts if isinstance(part, ast.FunctionDef) and part.name == "forward"]
    nodes = [node for part in forward for node in ast.walk(part)]
    words = {called(node) for node in nodes}
    root = any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and number(node.right) == 0.5 for node in nodes)
    return (bool(words & (_LENGTHS | _ODD)) or root) and not words & (_SMOOTH - _ODD)


def _has_limit(case: Case, scene: Scene, seen: View) -> bool:
    """True for a quotient of two functions of the same numbers, one of them smooth and no power, that is 0 / 0: ``expm1(x) / x``."""
    given = case.origin.inputs if case.origin is not None else ()
    if scene.source is None or len(seen.operands) != 2 or len(given) != 2 or given[0].shape != given[1].shape:
        return False
    if any(finite(one.culprit) != 0.0 for one in given):
        return False
    above, below = ([made.value for made in scene.project.made(scene.source, side)] for side in seen.operands)
    return any(
        called(node) in _SMOOTH and not _names([node]).isdisjoint(_names(theirs))
        for ours, theirs in ((above, below), (below, above)) for one in ours for node in ast.walk(one)
    )


def _names(values: Iterable[ast.AST]) -> set[str]:
    """Variables that `values` are computed from."""
    return {node.id for value in values for node in ast.walk(value) if isinstance(node, ast.Name)} - {"torch", "self", "math", "F"}


def _inside_update(origin: Origin) -> bool:
    """A division in the formula of an optimizer of the user's own."""
    return origin.op == "optimizer_update" and ".div" in origin.native_op


def _divisor(case: Case, seen: View) -> tuple[ast.expr | None, TensorStats | None]:
    """What is divided by, and its statistics if it was a tensor."""
    assert case.origin is not None
    given = case.origin.inputs
    if seen.name == "div" and len(seen.operands) > 1:
        if number(seen.operands[0]) is not None:  # `1 / x` runs as a reciprocal, with one tensor
            return seen.operands[1], next(iter(given), None)
        return seen.operands[1], given[1] if len(given) > 1 else None
    if seen.name in ("reciprocal", "rsqrt"):
        return seen.first, next(iter(given), None)
    if seen.name == "pow" and len(seen.operands) > 1:
        power = number(seen.operands[1])
        return (seen.first, next(iter(given), None)) if power is not None and power < 0 else (None, None)
    return None, None


def _edits(source: Source, seen: View, divisor: ast.expr, stats: TensorStats) -> list[Edit | None]:
    counted = "int" in stats.dtype or (stats.made_by[:1] == ("count",))
    whole = finite(stats.min) == 0.0 and "sum" in stats.made_by[:1] and float(finite(stats.max) or 0.0).is_integer()
    if counted or whole:
        return [source.replace(divisor, f"{source.operand(divisor)}.clamp(min=1)")]
    return chosen(source, divisor, "{x}.masked_fill({x} == 0, 1.0)", _name(source, divisor), "divisor")


def _name(source: Source, divisor: ast.expr) -> str:
    """A name for the divisor, from how it is made."""
    del source
    function = divisor.func if isinstance(divisor, ast.Call) else None
    last = function.attr if isinstance(function, ast.Attribute) else ""
    return {"std": "spread", "norm": "length", "sum": "total", "mean": "average", "var": "variance"}.get(last, "divisor")
