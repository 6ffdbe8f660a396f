"""Choose the divisor before dividing.

What it changes
---------------
Where the divisor is exactly 0, the division is by 1 instead: `a / d` becomes `a / d.masked_fill(d == 0, 1.0)`. A count becomes
`count.clamp(min=1)`. All other quotients stay bit for bit.

When it helps
-------------
A constant column has the deviation 0, an empty group the count 0, a padded vector the norm 0: there is nothing to scale, and the
numerator is 0 as well. In a derivative that is written by hand the slope of a length is 0 / 0 at the point 0, and taken to be 0.

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
from collections.abc import Mapping, Sequence

from stayfinite.catalog.clues import finite
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
EXAMPLES = ("division-by-zero", "digits-closeup", "dropped-edges")

_DIVISIONS = frozenset({"div", "reciprocal", "pow", "rsqrt"})


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin divides by a tensor that holds a 0."""
    if case.origin is None or not (case.origin.op in _DIVISIONS or _inside_update(case.origin)):
        return []
    if _inside_derivative(case) and any(finite(one.culprit) != 0.0 for one in case.origin.inputs):
        return []  # a slope that is not 0 / 0 has a limit that the source does not tell
    scene = Scene(case, sources, of_kind("div") if _inside_update(case.origin) else None)
    source, seen = scene.source, scene.view
    if source is None or seen is None:
        return []
    form = Stable(place(case, "div" if _inside_update(case.origin) else None), "safe-divide")
    divisor, stats = _divisor(case, seen)
    if divisor is None:
        return []
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
    called = divisor.func if isinstance(divisor, ast.Call) else None
    last = called.attr if isinstance(called, ast.Attribute) else ""
    return {"std": "spread", "norm": "length", "sum": "total", "mean": "average", "var": "variance"}.get(last, "divisor")
