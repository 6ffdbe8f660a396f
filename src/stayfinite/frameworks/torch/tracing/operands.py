"""What the author calls the tensors an operator was given.

The dispatcher knows its operands as ``self`` and ``other``; a reader knows them as ``p`` and ``mask.sum()``. Three
sources are tried, best first: the variable of a library function that holds the tensor, followed to the argument the
user's call passed for it; the operand's own text in the user's expression; the dispatcher's argument name.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache
from types import FrameType
from typing import NamedTuple

import torch

_REFLECTED = {"rsub", "reciprocal"}
_SAME_AS = {
    "linalg_vector_norm": "norm",
    "nll_loss_forward": "nll_loss",
    "special_logit": "logit",
    "rsub": "sub",
    "clamp_min": "clamp",
    "clamp_max": "clamp",
    "linalg_cholesky_ex": "cholesky",
    "true_divide": "div",
}


class Shape(NamedTuple):
    """The parts of an expression that name operands: a call's `callee` (last name only), what the method is called on
    (`receiver`, ``None`` for plain functions of modules), `arguments`, `keywords`; for an operator `operands`."""

    callee: str | None = None
    receiver: str | None = None
    arguments: tuple[str, ...] = ()
    keywords: tuple[tuple[str, str], ...] = ()
    operands: tuple[str, ...] = ()
    constant: tuple[bool, ...] = ()


@lru_cache(maxsize=512)
def shape_of(expression: str) -> Shape:
    """The operands `expression` names; an empty `Shape` if it does not parse as one call, operator or assignment."""
    source = f"({expression})"
    try:
        node: ast.AST = ast.parse(source, mode="eval").body
    except SyntaxError:
        source = expression
        try:
            node = ast.parse(source).body[0]
        except (SyntaxError, IndexError, ValueError):
            return Shape()
    except ValueError:
        return Shape()

    def text(part: ast.expr) -> str:
        return ast.get_source_segment(source, part) or ast.unparse(part)

    if isinstance(node, ast.Call):
        receiver = None
        callee = node.func.id if isinstance(node.func, ast.Name) else None
        if isinstance(node.func, ast.Attribute):
            callee, receiver = node.func.attr, text(node.func.value)
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            return Shape(callee=callee, receiver=receiver)
        return Shape(
            callee=callee,
            receiver=receiver,
            arguments=tuple(text(argument) for argument in node.args),
            keywords=tuple((word.arg, text(word.value)) for word in node.keywords if word.arg),
        )
    parts: Sequence[ast.expr] = ()
    if isinstance(node, ast.BinOp):
        parts = (node.left, node.right)
    elif isinstance(node, ast.AugAssign):
        parts = (node.target, node.value)
    elif isinstance(node, ast.UnaryOp):
        parts = (node.operand,)
    elif isinstance(node, ast.Compare) and len(node.comparators) == 1:
        parts = (node.left, node.comparators[0])
    elif isinstance(node, ast.Subscript):
        parts = (node.value,)
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Subscript):
        parts = (node.targets[0], node.value)
    return Shape(
        operands=tuple(text(part) for part in parts), constant=tuple(isinstance(part, ast.Constant) for part in parts)
    )


def stored_text(line: str, target: str) -> str | None:
    """What the statement `line` assigns to the item `target`: ``"0.5"`` of ``"x[1] = 0.5"``; ``None`` if it does not.
    The interpreter's position of such an assignment covers its target only."""
    try:
        statement = ast.parse(line).body[0]
    except (SyntaxError, IndexError, ValueError):
        return None
    if not isinstance(statement, ast.Assign):
        return None
    texts = [ast.get_source_segment(line, one) for one in statement.targets if isinstance(one, ast.Subscript)]
    return ast.get_source_segment(line, statement.value) if target in texts else None


def _same(value: object, tensor: torch.Tensor) -> bool:
    """True if `value` is `tensor`, or a tensor of the same extents over the same memory (a view of all of it)."""
    if value is tensor:
        return True
    if not isinstance(value, torch.Tensor) or value.shape != tensor.shape or type(value) is not type(tensor):
        return False
    try:
        return bool(value.data_ptr()) and value.data_ptr() == tensor.data_ptr() and value.dtype == tensor.dtype
    except RuntimeError:
        return False


def _from_library(tensor: torch.Tensor, frames: Sequence[FrameType], shape: Shape) -> str | None:
    """The name of `tensor` in the library functions `frames` (innermost first), in the user's words where the outermost
    of them got it as an argument. Only library frames are read: reading the variables of a user's frame would refresh
    the dictionary a ``locals()`` call gave out."""
    if not frames:
        return None
    outer = frames[-1]
    code = outer.f_code
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    held = outer.f_locals
    positional = parameters[1:] if parameters[:1] == ("self",) else parameters
    texts = dict(zip(positional, shape.arguments, strict=False)) | dict(shape.keywords)
    if parameters[:1] and parameters[0] == "self" and isinstance(held.get("self"), torch.Tensor) and shape.receiver:
        texts["self"] = shape.receiver
    for name in parameters:
        if name in texts and _same(held.get(name), tensor):
            return texts[name]
    for frame in frames:
        found = next((name for name, value in frame.f_locals.items() if _same(value, tensor)), None)
        if found is not None:
            return found
    return None


def _from_expression(position: int, name: str, base: str, single: bool, shape: Shape) -> str | None:
    """The text of the operand at `position` of the operator `base`, as the user's expression has it. `single`: it is
    the operator's only tensor."""
    if shape.operands:
        if len(shape.operands) == 1:
            return shape.operands[0]
        if single:
            variable = [text for text, fixed in zip(shape.operands, shape.constant, strict=True) if not fixed]
            if len(variable) == 1:
                return variable[0]
            return shape.operands[1] if base in _REFLECTED else shape.operands[0]
        return shape.operands[position] if position < 2 else None
    if shape.callee is None:
        return None
    callee = shape.callee.strip("_")
    if callee not in (base, _SAME_AS.get(base, base), base.removeprefix("linalg_").removesuffix("_ex")):
        return None
    keyword = dict(shape.keywords)
    if name in keyword:
        return keyword[name]
    method = shape.receiver is not None and shape.receiver.split(".")[0] not in (
        "torch",
        "F",
        "nn",
        "linalg",
        "special",
    )
    texts = ((shape.receiver or ""), *shape.arguments) if method else shape.arguments
    return texts[position] if position < len(texts) else None


def names_of(
    inputs: Sequence[tuple[int, str, torch.Tensor]], base: str, expression: str, frames: Sequence[FrameType]
) -> list[str]:
    """A name for each of `inputs` (position, dispatcher's name, tensor) of the operator `base`.

    **Arguments**: `expression`: the user's source text; `frames`: the library frames between it and the operator.
    """
    shape = shape_of(expression) if expression else Shape()
    single = len(inputs) == 1
    names = []
    for position, name, tensor in inputs:
        found = (
            _from_library(tensor, frames, shape) if frames else _from_expression(position, name, base, single, shape)
        )
        names.append(found or name)
    return names
