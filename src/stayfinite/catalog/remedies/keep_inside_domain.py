"""Keep the argument of an inverse function inside its domain.

What it changes
---------------
`acos(x)` becomes `acos(x.clamp(-1 + 1e-6, 1 - 1e-6))`, and likewise asin, atanh, acosh. `sqrt(1 - s**2)`, where a layer makes
`s`, is given `0.999 * tanh(s)`, and so is all that is computed from `s` after it. The root, or the power, of numbers of the data that
may be below 0 is taken of `x.clamp(min=0)`.

When it helps
-------------
A cosine of unit vectors may round to 1.0000001, and at exactly 1 the slope of acos is infinite. A brightness that an augmentation
lowered, or a count less its background, falls below 0, where the root of it is no number.

What it may cost
----------------
Elements that are moved get no gradient. If more than rounding moves them, what made them is wrong. With a tanh it is another
network: train it again.

Example
-------
::

    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.moments import root_of_square
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import number, view
from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Within
from stayfinite.records.numbers import Number

TITLE = "Keep the argument inside its domain"
CURES = ("domain-error", "singular-gradient", "nonpositive-variance")
APPLICABILITY = "unsafe"
EXAMPLES = ("siamese-jitter",)

LEARNED = frozenset({"matmul", "conv", "rnn", "embedding", "softmax", "sigmoid", "relu", "gelu", "silu", "tanh", "activation"})
"""What layers end with: a number that was made so is no matter of the data."""

_DOMAINS: dict[str, tuple[str, Number, Number]] = {
    "acos": ("clamp(-1 + 1e-6, 1 - 1e-6)", -1 + 1e-6, 1 - 1e-6), "asin": ("clamp(-1 + 1e-6, 1 - 1e-6)", -1 + 1e-6, 1 - 1e-6),
    "atanh": ("clamp(-1 + 1e-6, 1 - 1e-6)", -1 + 1e-6, 1 - 1e-6), "acosh": ("clamp(min=1 + 1e-6)", 1 + 1e-6, "+inf"),
    "erfinv": ("clamp(-1 + 1e-6, 1 - 1e-6)", -1 + 1e-6, 1 - 1e-6),
}
"""1e-6: some ten steps of float32 at 1, where the slope of acos is below 1000."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin is an inverse function with bounds, or a root or a power of something that went below 0."""
    if case.origin is not None and case.origin.op in ("sqrt", "pow"):
        return _other_side(case, sources) or _of_data(case, sources)
    if case.origin is None or case.origin.op not in _DOMAINS:
        return []
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    text, low, high = _DOMAINS[case.origin.op]
    change = Within(place(case), 0, low=low, high=high)
    if source is None or seen is None or seen.first is None or seen.package == "math":
        return []
    return [offered(__name__, sources, [source.replace(seen.first, f"{source.operand(seen.first)}.{text}")], change)]


def _other_side(case: Case, sources: Mapping[str, str]) -> list[Remedy]:
    """The other side of a right triangle, ``sqrt(1 - s**2)``: its name is bounded before it is used."""
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None or seen.package == "math":
        return []
    for under in scene.project.made(source, seen.first):
        squared = _squared(under.source, under.value)
        statement = under.source.statement(squared) if squared is not None else None
        if squared is None or statement is None:
            continue
        name, imports = under.source.spelled("torch.tanh", squared)
        edits = [under.source.insert_before(statement, f"{squared.id} = 0.999 * {name}({squared.id})"), *imports]
        return [offered(__name__, sources, edits, says=f"Keep `{squared.id}` between -1 and 1 by a tanh",
                        cost="it is another network: train it again")]
    return []


def _of_data(case: Case, sources: Mapping[str, str]) -> list[Remedy]:
    """Numbers that nothing learned has made are cut at 0: no gradient is lost by it."""
    origin = case.origin
    given = origin.inputs[0] if origin is not None and origin.inputs else None
    low = finite(given.min) if given is not None else None
    if origin is None or given is None or low is None or low >= 0.0 or origin.module or LEARNED & set(given.made_by):
        return []
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None or seen.package in ("math", "numpy"):
        return []
    first = seen.first
    if any(_of_squares(made.source, made.value) for made in scene.project.made(source, first)):
        return []  # a variance, or another difference of squares, is below 0 by rounding: that is no matter of the data
    edit = source.replace(first, f"{source.operand(first)}.clamp(min=0)")
    says = f"Cut `{source.segment(first)}` at 0 before its {'root' if origin.op == 'sqrt' else 'power'} is taken"
    return [offered(__name__, sources, [edit], Within(place(case), 0, low=0.0, high="+inf"), says=says,
                    cost="what lies below 0 in the data counts as 0")]


def _of_squares(source: Source, node: ast.expr) -> bool:
    """True for a difference with a square in it."""
    minus = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
    return minus and any(isinstance(one, ast.expr) and root_of_square(source, one) is not None for one in ast.walk(node))


def _squared(source: Source, node: ast.expr) -> ast.Name | None:
    """``s`` of ``1 - s**2``, ``1 - s * s`` or ``1 - s.square()``."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and number(node.left) == 1.0):
        return None
    seen = view(source, node.right)
    if seen is None or not isinstance(seen.first, ast.Name):
        return None
    twice = seen.name == "mul" and len(seen.operands) > 1 and ast.dump(seen.operands[0]) == ast.dump(seen.operands[1])
    square = seen.name == "square" or (seen.name == "pow" and len(seen.operands) > 1 and number(seen.operands[1]) == 2.0)
    return seen.first if twice or square else None
