"""Choose the argument before the operation, not the result after it.

What it changes
---------------
Elements outside the domain are given an innocent argument before the operation: `1 / x` becomes `1 / x.masked_fill(x == 0, 1.0)`.
The `where`, mask or product that discards their results stays as it is.

When it helps
-------------
`where(x > 0, sqrt(x), 0)` discards the value of sqrt at 0 and keeps its slope: the gradient that is sent back is 0, and 0 times
infinity is NaN. Only an operation that never saw the bad argument has a finite slope.

What it may cost
----------------
Nothing where the results are discarded. Where one is used after all, it is the operation's value at the innocent argument.

Example
-------
::

    y = torch.where(x > 0, x.masked_fill(x <= 0, 1.0).sqrt(), 0.0)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import View, number
from stayfinite.catalog.remedy import Scene, chosen, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Choose the argument before the operation"
CURES = ("where-gradient-trap", "log-of-zero", "infinity-arithmetic", "domain-error", "singular-gradient", "exp-overflow")
APPLICABILITY = "safe"
SAME_FUNCTION = True
EXACT = True
UNUSED_ELEMENTS = True
BREADTH = 1
EXAMPLES = ("lens-autograd-grad", "entropy-bonus")

_FILLS = {
    "div": ("{x} == 0", "1.0", 1), "reciprocal": ("{x} == 0", "1.0", 0), "sqrt": ("{x} <= 0", "1.0", 0), "rsqrt": ("{x} <= 0", "1.0", 0),
    "log": ("{x} <= 0", "1.0", 0), "log1p": ("{x} <= -1", "0.0", 0), "acos": ("{x}.abs() >= 1", "0.0", 0),
    "asin": ("{x}.abs() >= 1", "0.0", 0), "atanh": ("{x}.abs() >= 1", "0.0", 0), "acosh": ("{x} <= 1", "2.0", 0),
    "pow": ("{x} <= 0", "1.0", 0), "exp": ("{x} > 80", "0.0", 0),
}
"""Kind -> which elements are replaced, by what, and which operand that is about."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where results are discarded afterwards: by a `where` that was seen, or as a factor of what it is multiplied with."""
    origin = case.origin
    if origin is None:
        return []
    if origin.op == "mul":
        return _product(case, sources)
    if origin.op not in _FILLS:
        return []
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.package == "math":
        return []
    hidden = origin.absorbed_at
    dropped = hidden is not None and re.search(r"where\(|mask", hidden.code) is not None
    discarded = dropped or (origin.op == "log" and _weighs_itself(source, seen))
    if not discarded:
        return []
    found = _argument(seen, origin.op)
    if found is None:
        return []
    operand, wrong, fill = found
    edits = chosen(source, operand, f"{{x}}.masked_fill({wrong}, {fill})", "inside", "chosen")
    return [offered(__name__, sources, edits, Stable(place(case), "double-where"))]


def _argument(seen: View, kind: str) -> tuple[ast.expr, str, str] | None:
    wrong, fill, at = _FILLS[kind]
    if kind == "reciprocal" and seen.name == "div":
        at = 1
    if kind == "pow" and seen.name == "pow" and len(seen.operands) > 1:
        power = number(seen.operands[1])
        wrong = "{x} == 0" if power is not None and float(power).is_integer() else wrong
    operand = seen.operands[at] if at < len(seen.operands) else None
    return (operand, wrong, fill) if operand is not None and number(operand) is None else None


def _weighs_itself(source: Source, log: View) -> bool:
    """True for ``p * log(p)``, also over a name: what is 0 there counts 0, as its limit does."""
    argument = log.first
    if argument is None:
        return False
    wanted = source.segment(argument)
    names = {source.segment(log.node)}
    statement = source.statement(log.node)
    if isinstance(statement, ast.Assign) and statement.value is log.node and isinstance(statement.targets[0], ast.Name):
        names.add(statement.targets[0].id)
    return any(
        isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult)
        and ((source.segment(one.left) == wanted and source.segment(one.right) in names)
             or (source.segment(one.right) == wanted and source.segment(one.left) in names))
        for one in ast.walk(source.scope(log.node))
    )


def _product(case: Case, sources: Mapping[str, str]) -> list[Remedy]:
    """0 times infinity: what the zero switches off is set to 0 before."""
    origin = case.origin
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    if source is None or seen is None or origin is None or len(seen.operands) != 2 or len(origin.inputs) != 2:
        return []
    infinite = next((at for at, one in enumerate(origin.inputs) if one.posinf or one.neginf), None)
    if infinite is None or origin.inputs[1 - infinite].zero == 0:
        return []
    switch, value = seen.operands[1 - infinite], seen.operands[infinite]
    if not isinstance(switch, (ast.Name, ast.Attribute)):
        return []
    text = f"{source.operand(value)}.masked_fill({source.segment(switch)} == 0, 0.0)"
    return [offered(__name__, sources, [source.replace(value, text)], Stable(place(case), "double-where"))]
