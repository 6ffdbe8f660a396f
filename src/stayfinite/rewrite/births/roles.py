"""What a line does to the value that is made on it, told from its text: it casts, reserves memory, draws, divides, batches."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from stayfinite.records.survey import Role
from stayfinite.rewrite.births.sources import Pick, called
from stayfinite.rewrite.births.statements import last_name
from stayfinite.rewrite.births.tracing_back import Reached

_RESERVE = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "UninitializedParameter", "UninitializedBuffer"})
_DRAWN = frozenset({"randn", "rand", "randn_like", "rand_like", "normal", "uniform", "full", "xavier_normal_", "xavier_uniform_",
                    "kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "constant_", "fill_", "orthogonal_",
                    "trunc_normal_", "standard_normal"})
_HALVES = frozenset({"half", "bfloat16", "float16"})
_ADDS_UP = frozenset({"sum", "cumsum", "prod", "einsum"})
_DIVIDES = frozenset({"reciprocal", "reciprocal_", "div", "div_", "divide", "true_divide", "rsqrt"})
_CONTAINERS = frozenset({"DataLoader", "TensorDataset", "Subset", "random_split", "ConcatDataset", "enumerate", "zip", "range", "iter"})
_LIBRARIES = frozenset({"nn", "torch", "modules"})


def roles(
    reached: Reached, is_container: Callable[[str], bool], is_function: Callable[[str], bool] = lambda _name: False
) -> Iterator[tuple[Role, ast.expr]]:
    """What the expression that was reached does, each with the part of it that does it. `is_container`: of the user's classes,
    whether their objects only hand out what they were given; `is_function`: whether a function of the user's has that name."""
    node = reached.node
    if reached.how == "filter":
        yield "filter", node
        return
    if is_literal(node):
        yield "default" if reached.how in ("default", "option") else "write" if reached.how == "written" else "constant", node
        return
    if reached.how in ("default", "option"):
        yield "default", node
    if reached.how == "loop" and isinstance(node, (ast.Tuple, ast.List)) and node.elts and all(map(is_literal, node.elts)):
        yield "constant", node  # numbers that are tried one after the other
    for part in _parts(node):
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Div):
            yield "divide", part
        elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Pow) and isinstance(part.right, ast.UnaryOp):
            yield "divide", part
        elif isinstance(part, ast.Call):
            role = _of_call(part)
            if role is not None:
                yield role, part
    outermost = called(node) if isinstance(node, ast.Call) else ""
    if reached.how == "item" and isinstance(node, ast.Call) and not is_container(outermost) and "self" not in _names(node):
        yield "table" if reached.whole else "made", node  # an item that is made as it is asked for, and not only looked up
    if reached.how in ("loop", "item") or outermost in _CONTAINERS or is_container(outermost):
        return
    named = isinstance(node, (ast.Name, ast.Attribute, ast.Subscript))
    if named and reached.how == "return":
        return  # what made it is reached as well
    if isinstance(node, ast.Call) and is_function(outermost):
        if _prepares(node, reached.pick):
            return
        yield "call", node
    if reached.whole and not (named and reached.how == "argument"):
        yield "table", node
    elif reached.how and not named:
        yield "made", node


def _prepares(node: ast.Call, pick: Pick) -> bool:
    """True for a call of a function that brings the data along, alone or with others: it is given nothing, or one of several
    results is meant. One that is given data and returns them changed is a line that somebody would change."""
    words = [*node.args, *(k.value for k in node.keywords)]
    return any(isinstance(part, int) for part in pick) or all(isinstance(word, ast.Constant) for word in words)


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def is_literal(node: ast.expr) -> bool:
    """True for a number, or a sum or product of numbers: ``-1e-3``, ``64 * 1024``, ``float("inf")``."""
    if isinstance(node, ast.UnaryOp):
        return is_literal(node.operand)
    if isinstance(node, ast.BinOp):
        return is_literal(node.left) and is_literal(node.right)
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of an expression that take part in its value, from the outermost to the innermost."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Lambda):
            yield from _parts(child)


def _of_call(node: ast.Call) -> Role | None:
    name = called(node)
    words = [*node.args, *(k.value for k in node.keywords)]
    if name in _HALVES and not node.args:
        return "cast"
    if name in ("to", "type", "astype", "tensor", "as_tensor", "asarray", "array") and any(_is_half(word) for word in words):
        return "cast"
    if name in _RESERVE:
        return "reserve"
    if name in _DRAWN:
        return "draw"
    if name == "DataLoader" or (name in ("split", "chunk", "batched") and node.args):
        return "loader"
    if name in _ADDS_UP:
        return "sum"
    if name in _DIVIDES:
        return "divide"
    if name[:1].isupper() and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, (ast.Name, ast.Attribute)):
        if last_name(node.func.value) in _LIBRARIES:
            return "layer"
    return None


def _is_half(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value in ("float16", "half", "bfloat16")
    return isinstance(node, ast.Attribute) and node.attr in ("float16", "half", "bfloat16")
