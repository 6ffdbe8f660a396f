"""From a line under the microscope to the record of a birth."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable

from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.survey import Birth, SearchedIn
from stayfinite.records.tensor import TensorStats
from stayfinite.rewrite.births.formulas import FUNCTIONS, Made, called
from stayfinite.rewrite.births.microscope import Event, Microscope
from stayfinite.rewrite.births.sight import array_of, first_bad, stats_of, words
from stayfinite.rewrite.births.statements import last_name
from stayfinite.rewrite.project import unheard

_READERS = ("read", "load", "genfromtxt", "fromfile", "open", "fetch", "from_csv")
_DEPTH = 6
_SUMS = frozenset({"sum", "mean", "var", "norm"})


def tell(scope: Microscope, event: Event, relative: Callable[[str], str], searched_in: SearchedIn, aside: str = "") -> Birth:
    """The birth at `event`. `aside`: what it happened for, in words (``"item 431"``)."""
    inputs: tuple[TensorStats, ...] = ()
    operand_by, operand_at = "", UNKNOWN_LOCATION
    made = event.made
    if made is not None:
        at = first_bad(made.value, scope.limit)
        inputs = tuple(one for text, value in made.operands if (one := stats_of(text, value, at)) is not None)
        operand = made.operands[-1][0] if made.kind == "div" and len(made.operands) > 1 else made.operands[0][0] if made.operands else ""
        operand_by, operand_at = _maker(event.filename, event.line, operand, relative)
    wrapped, wrapped_at = _wrap(scope, event, relative)
    return Birth(
        location=event.location(relative), how=_how(scope, event, made, aside), searched_in=searched_in,
        op=made.kind if made is not None and made.kind not in ("ptp", "median", "count") else "", inputs=inputs,
        operand_by=operand_by, operand_at=operand_at, wrapped=wrapped, wrapped_at=wrapped_at,
    )


def _how(scope: Microscope, event: Event, made: Made | None, aside: str) -> str:
    after = f" for {aside}" if aside else ""
    if event.foreign:
        return f"`{event.says}` handed on `{event.foreign[0]}`, which held {words(event.value, scope.limit)} before the line ran{after}"
    what = words(made.value if made is not None else event.value, scope.limit)
    if made is not None:
        zero = _zero_divisor(made, scope)
        why = f", because `{zero}` is 0 there" if zero else " from finite values"
        return f"`{made.text}` gave {what}{why}{after}"
    if _writes_literal(event.node):
        return f"the line writes {what} itself{after}"
    if _reads_file(event.node):
        return f"`{event.says}` gave {what}: they stand in what it reads{after}"
    return f"`{event.says}` gave {what}{after}"


def _zero_divisor(made: Made, scope: Microscope) -> str:
    if made.kind != "div" or len(made.operands) < 2:
        return ""
    text, value = made.operands[-1]
    stats = stats_of(text, value, first_bad(made.value, scope.limit))
    return text if stats is not None and (stats.culprit == 0.0 or (stats.culprit is None and stats.zero)) else ""


def _writes_literal(node: ast.AST | None) -> bool:
    """True if the line names a NaN or an infinity: ``float("nan")``, ``np.nan``, ``math.inf``."""
    value = getattr(node, "value", None)
    if not isinstance(value, ast.AST):
        return False
    for part in ast.walk(value):
        if isinstance(part, ast.Attribute) and part.attr.lower() in ("nan", "inf", "infinity", "nat", "na"):
            return True
        text = part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
        if text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            return True
    return False


def _reads_file(node: ast.AST | None) -> bool:
    called = [last_name(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)] if node is not None else []
    return any(word in name for name in called for word in _READERS)


def _wrap(scope: Microscope, event: Event, relative: Callable[[str], str]) -> tuple[str, Location]:
    """The integer operation that left its range before (or in) `event`, in words."""
    found = event if event.wrapped is not None else None
    if found is None:
        made = event.made
        known = {text for text, _ in made.operands} if made is not None else set()
        earlier = [one for one in scope.wraps if not known or one.target in known or one.filename == event.filename]
        found = earlier[-1] if earlier else None
    if found is None or found.wrapped is None:
        return "", UNKNOWN_LOCATION
    one = found.wrapped
    array = array_of(one.value)
    return f"`{one.text}` left the range of {array.dtype if array is not None else 'its type'}", found.location(relative)


def _maker(filename: str, line: int, operand: str, relative: Callable[[str], str]) -> tuple[str, Location]:
    """The kind of operation that made `operand` (source text), and its line: from the source, by the last assignment."""
    try:
        with unheard():
            tree = ast.parse("".join(linecache.getlines(filename)))
            node = ast.parse(operand, mode="eval").body
    except (SyntaxError, ValueError):
        return "", UNKNOWN_LOCATION
    found = _kind(tree, node, line, _DEPTH)
    if found is None:
        return "", UNKNOWN_LOCATION
    kind, at = found
    return kind, Location(relative(filename), at, code=linecache.getline(filename, at).strip())


def _kind(tree: ast.Module, node: ast.expr, line: int, depth: int) -> tuple[str, int] | None:
    if depth == 0:
        return None
    if isinstance(node, ast.Call):
        kind = FUNCTIONS.get(called(node), "")
        if kind in ("sum", "mean") and (squared := _squared(node)) is not None:
            kind = "var" if _is_centred(tree, squared, line, depth - 1) else "norm"
        if kind == "move" or kind in ("sqrt", "abs", "clamp"):
            inner = node.func.value if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value) else None
            inner = inner if inner is not None else node.args[0] if node.args else None
            deeper = _kind(tree, inner, line, depth - 1) if inner is not None else None
            return ("std", deeper[1]) if kind == "sqrt" and deeper is not None and deeper[0] == "var" else deeper
        return (kind, getattr(node, "lineno", line) if node.lineno > 1 else line) if kind else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        left, right = _kind(tree, node.left, line, depth - 1), _kind(tree, node.right, line, depth - 1)
        if left is not None and right is not None and (left[0], right[0]) == ("max", "min"):
            return "ptp", max(left[1], right[1])
        return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):  # a sum over how many there are
        deeper = _kind(tree, node.left, line, depth - 1)
        return ("mean" if deeper[0] == "sum" else deeper[0], deeper[1]) if deeper is not None and deeper[0] in _SUMS else None
    root = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant)
    if root and isinstance(node, ast.BinOp) and getattr(node.right, "value", 0) == 0.5:
        deeper = _kind(tree, node.left, line, depth - 1)
        return ("std", deeper[1]) if deeper is not None and deeper[0] == "var" else deeper
    if isinstance(node, ast.Subscript):
        return _kind(tree, node.value, line, depth - 1)
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return None
    name = node.id if isinstance(node, ast.Name) else node.attr
    given = _assigned(tree, name, isinstance(node, ast.Attribute), line)
    if given is None:
        return None
    value, at = given
    deeper = _kind(tree, value, at, depth - 1)
    return (deeper[0], at) if deeper is not None else None


def _squared(node: ast.Call) -> ast.expr | None:
    """What is squared in a sum or mean of squares, which may be masked: ``((x - m) ** 2 * w).sum()``."""
    whole: ast.expr | None = node.args[0] if node.args else None
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        whole = node.func.value
    for part in ast.walk(whole) if whole is not None else ():
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Pow) and getattr(part.right, "value", 0) == 2:
            return part.left
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult) and ast.dump(part.left) == ast.dump(part.right):
            return part.left
        if isinstance(part, ast.Call) and called(part) == "square":
            owner = part.func.value if isinstance(part.func, ast.Attribute) and not _is_module(part.func.value) else None
            return owner if owner is not None else part.args[0] if part.args else None
    return None


def _is_centred(tree: ast.Module, node: ast.expr, line: int, depth: int) -> bool:
    """True if a difference is part of `node`, or of what a name in it was assigned."""
    for part in ast.walk(node):
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub):
            return True
        given = _assigned(tree, part.id, False, line) if isinstance(part, ast.Name) and depth > 0 else None
        if given is not None and isinstance(given[0], ast.BinOp) and _is_centred(tree, given[0], given[1], 0):
            return True
    return False


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy", "torch", "math", "pd")


def _assigned(tree: ast.Module, name: str, is_attribute: bool, line: int) -> tuple[ast.expr, int] | None:
    """What `name` was assigned last before `line`; for an attribute, or where it is assigned only further down, anywhere."""
    found: list[tuple[ast.expr, int]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else []
                pairs = list(zip(target.elts, values, strict=False))
            for one, value in pairs:
                if last_name(one) == name and isinstance(one, ast.Attribute) == is_attribute:
                    found.append((value, node.lineno))
    before = [one for one in found if one[1] < line]
    return max(before, key=lambda one: one[1]) if before else found[-1] if found else None
