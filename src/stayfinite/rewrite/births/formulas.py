"""Which part of a line made the bad value: its arithmetic is evaluated once more, part by part, from the names it read.

Only what computes and nothing else is evaluated: arithmetic, and the functions of NumPy, the framework, `math` and pandas
that are listed here under the canonical kind of their operator (`catalog/ops.py` says what the kinds mean).
"""

from __future__ import annotations

import ast
import math
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from stayfinite.rewrite.births.sight import array_of, is_array, is_bad
from stayfinite.rewrite.births.statements import BINARY, NotSimple, evaluate, last_name

FUNCTIONS: dict[str, str] = {
    "log": "log", "log2": "log", "log10": "log", "log1p": "log1p", "exp": "exp", "expm1": "exp", "exp2": "exp2", "sqrt": "sqrt",
    "rsqrt": "rsqrt", "reciprocal": "reciprocal", "divide": "div", "true_divide": "div", "div": "div", "truediv": "div",
    "power": "pow", "pow": "pow", "square": "pow", "add": "add", "subtract": "sub", "sub": "sub", "multiply": "mul", "mul": "mul",
    "sum": "sum", "mean": "mean", "nanmean": "mean", "average": "mean", "std": "std", "var": "var", "nanstd": "std",
    "median": "median", "min": "min", "amin": "min", "max": "max", "amax": "max", "ptp": "ptp", "norm": "norm", "abs": "abs",
    "cumsum": "cumsum", "prod": "prod", "diff": "sub", "arccos": "acos", "acos": "acos", "arcsin": "asin", "asin": "asin",
    "arctanh": "atanh", "atanh": "atanh", "softmax": "softmax", "logit": "logit", "pct_change": "div", "float_power": "pow",
    "dot": "matmul", "matmul": "matmul", "clip": "clamp", "clamp": "clamp", "round": "round", "fsum": "sum", "len": "count",
    "interp": "lerp", "hypot": "norm",
} | dict.fromkeys(
    ("tensor", "as_tensor", "array", "asarray", "from_numpy", "float", "astype", "to", "stack", "concatenate", "cat", "hstack",
     "vstack", "column_stack", "reshape", "view", "squeeze", "unsqueeze", "flatten", "ravel", "transpose", "to_numpy", "numpy",
     "item", "copy", "clone", "float32", "float64", "float16", "double", "half", "Tensor", "FloatTensor", "permute",
     "tolist", "expand_dims", "int16", "int8", "uint8", "int32", "int64", "int", "long", "short", "keepdims", "list",
     "fillna", "ffill", "bfill", "groupby", "rolling", "expanding", "ewm", "resample",
     "moveaxis", "swapaxes", "ascontiguousarray", "contiguous", "detach", "cpu", "atleast_2d", "repeat", "tile", "expand"), "move"
)
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "div", ast.Mod: "div", ast.Pow: "pow",
    ast.MatMult: "matmul",
}
SPREADS = frozenset({"std", "var", "ptp", "max", "min", "norm"})
"""Kinds whose result is 0 over values that are all alike (an extreme: over zeros)."""


class Made(NamedTuple):
    """One operation of a formula. `kind`: canonical; `text`: its source, on `line`; `operands`: the source and value of each."""

    kind: str
    text: str
    operands: tuple[tuple[str, Any], ...]
    value: Any
    line: int = 0


class Formula:
    """Evaluates expressions over `names` and `outer` (a frame's, as they were before the line ran).

    `made`: the first operation with a result that is bad (by `limit`) and operands that are not, once `value` was asked.
    `wrapped`: the first integer operation whose result is not what it is in wider numbers.
    """

    def __init__(self, names: Mapping[str, Any], outer: Mapping[str, Any], limit: float = math.inf) -> None:
        self.made: Made | None = None
        self.wrapped: Made | None = None
        self._names, self._outer, self._limit = names, outer, limit
        self._left = 400

    def value(self, node: ast.expr) -> Any:
        """The value of `node`. **Raises** NotSimple where a part of it is not plain arithmetic."""
        self._left -= 1
        if self._left < 0:
            raise NotSimple("too long")
        try:
            return self._value(node)
        except NotSimple:
            raise
        except Exception as error:
            raise NotSimple(str(error)) from None

    def look(self, node: ast.expr) -> None:
        """Evaluate `node`, or else each largest part of it that can be."""
        try:
            self.value(node)
        except NotSimple:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr) and not isinstance(child, ast.Lambda) and self.made is None:
                    self.look(child)
                elif isinstance(child, ast.keyword) and self.made is None:
                    self.look(child.value)

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):
            left, right = self.value(node.left), self.value(node.right)
            with np.errstate(all="ignore"):
                result = BINARY[type(node.op)](left, right)
            kind = _OPERATORS.get(type(node.op), "unknown")
            self._note(kind, node, [(node.left, left), (node.right, right)], result)
            self._note_wrap(kind, node, left, right, result)
            return result
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.IfExp):
            return self.value(node.body if self.value(node.test) else node.orelse)
        if isinstance(node, ast.Compare):
            raise NotSimple("a comparison")
        if isinstance(node, ast.Attribute) and not isinstance(node.value, ast.Name):
            return getattr(self._of_array(node.value), node.attr)
        if isinstance(node, ast.Subscript):
            try:
                return evaluate(node, self._names, self._outer)
            except NotSimple:
                return self._of_array(node.value)[evaluate(node.slice, self._names, self._outer)]
        if isinstance(node, (ast.Tuple, ast.List)):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self.value(node.operand)
        return evaluate(node, self._names, self._outer)

    def _of_array(self, node: ast.expr) -> Any:
        value = self.value(node)
        if not is_array(value) and not _is_grouping(value):
            raise NotSimple("an attribute of an object of the user's")
        return value

    def _call(self, node: ast.Call) -> Any:
        arguments = [self.value(argument) for argument in node.args if not isinstance(argument, ast.Starred)]
        named = {k.arg: self.value(k.value) for k in node.keywords if k.arg is not None}
        if len(arguments) != len(node.args) or len(named) != len(node.keywords):
            raise NotSimple("starred arguments")
        operands = list(zip(node.args, arguments, strict=True))
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value)
            if isinstance(owner, types.ModuleType):
                function = getattr(owner, node.func.attr)
            elif is_array(owner):
                function, operands = getattr(owner, node.func.attr), [(node.func.value, owner), *operands]
            elif _is_grouping(owner):
                function = getattr(owner, node.func.attr)
            else:
                raise NotSimple("a method of the user's")
            name = called(node)
        elif isinstance(node.func, ast.Name):
            function, name = self.value(node.func), node.func.id
            name = getattr(function, "__name__", name)
        else:
            raise NotSimple("what is called is computed")
        if name not in FUNCTIONS or not _is_library(function):
            raise NotSimple(name)
        with np.errstate(all="ignore"):
            result = function(*arguments, **named)
        self._note(FUNCTIONS[name], node, operands, result)
        return result

    def _note(self, kind: str, node: ast.expr, operands: list[tuple[ast.expr, Any]], result: Any) -> None:
        if self.made is not None or not is_bad(result, self._limit):
            return
        shown = [(ast.unparse(part), value) for part, value in operands if array_of(value) is not None]
        if shown and not any(is_bad(value, self._limit) for _, value in shown):
            self.made = Made(kind, ast.unparse(node), tuple(shown), result, node.lineno)

    def _note_wrap(self, kind: str, node: ast.expr, left: Any, right: Any, result: Any) -> None:
        if self.wrapped is not None or kind not in ("add", "sub", "mul", "pow") or not is_array(result):
            return
        array, first, second = array_of(result), array_of(left), array_of(right)
        if array is None or first is None or second is None or array.dtype.kind not in "iu" or "f" in (first.dtype.kind, second.dtype.kind):
            return
        with np.errstate(all="ignore"):
            assert isinstance(node, ast.BinOp)
            wide = BINARY[type(node.op)](first.astype(np.float64), second.astype(np.float64))
            if (np.abs(wide - array.astype(np.float64)) > 0.5).any() and np.abs(wide).max() < 2.0**62:
                shown = tuple((ast.unparse(part), value) for part, value in ((node.left, left), (node.right, right)))
                self.wrapped = Made("overflow", ast.unparse(node), shown, result)


def called(node: ast.Call) -> str:
    """The name of what is called; that of the statistic where a table is asked for one by name: ``t.transform("std")``."""
    name = last_name(node.func)
    first = node.args[0] if node.args and name in ("transform", "agg", "aggregate") else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else name


def _is_grouping(value: object) -> bool:
    """True for what a table is asked for statistics of: groups, windows."""
    kind = type(value)
    return kind.__module__.startswith(("pandas.core.groupby", "pandas.core.window", "pandas.core.resample", "pandas.api.typing"))


def _is_library(function: Any) -> bool:
    """True for functions of NumPy, the framework, pandas, `math` and the built-in ones."""
    owner = getattr(function, "__self__", None)
    if owner is not None and (is_array(owner) or _is_grouping(owner)):
        return True
    module = getattr(function, "__module__", None) or type(function).__module__
    return str(module).partition(".")[0] in ("numpy", "torch", "math", "builtins", "pandas", "scipy", "_operator", "operator")
