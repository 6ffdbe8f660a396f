"""What an expression computes, however it is spelled: a function, a method, an operator, a module that is called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from stayfinite.catalog.edits.source import Source
from stayfinite.records.location import Location

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Div: "div", ast.Pow: "pow", ast.Mult: "mul", ast.Add: "add", ast.Sub: "sub", ast.MatMult: "matmul",
}
_SAME = {
    "true_divide": "div", "divide": "div", "multiply": "mul", "negative": "neg", "subtract": "sub", "arccos": "acos",
    "arcsin": "asin", "special.logit": "logit", "vector_norm": "norm", "Softmax": "softmax", "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid", "LogSigmoid": "logsigmoid", "BCELoss": "binary_cross_entropy", "NLLLoss": "nll_loss",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits", "CrossEntropyLoss": "cross_entropy", "expit": "sigmoid",
    "PairwiseDistance": "pairwise_distance", "log2": "log2", "BatchNorm1d": "batch_norm", "BatchNorm2d": "batch_norm",
}
_NUMERIC = ("torch", "math", "numpy", "torch.nn.functional", "torch.special", "torch.linalg", "torch.nn", "torch.Tensor")

SPELLINGS: dict[str, frozenset[str]] = {
    "log": frozenset({"log", "log2", "log10"}), "log1p": frozenset({"log1p"}), "xlogy": frozenset({"xlogy"}),
    "exp": frozenset({"exp", "expm1"}), "sqrt": frozenset({"sqrt"}), "rsqrt": frozenset({"rsqrt"}),
    "div": frozenset({"div", "reciprocal"}), "reciprocal": frozenset({"reciprocal", "div", "pow"}),
    "pow": frozenset({"pow", "square", "float_power"}), "norm": frozenset({"norm"}), "std": frozenset({"std", "std_mean"}),
    "var": frozenset({"var", "var_mean"}), "mean": frozenset({"mean"}), "acos": frozenset({"acos"}), "asin": frozenset({"asin"}),
    "softmax": frozenset({"softmax"}), "log_softmax": frozenset({"log_softmax"}), "logsumexp": frozenset({"logsumexp"}),
    "bce": frozenset({"binary_cross_entropy"}), "nll_loss": frozenset({"nll_loss", "cross_entropy"}),
    "cross_entropy": frozenset({"cross_entropy"}), "distance": frozenset({"cdist", "pairwise_distance", "dist"}),
    "cosine_similarity": frozenset({"cosine_similarity"}), "atanh": frozenset({"atanh"}), "acosh": frozenset({"acosh"}),
}
"""Canonical operator kind -> the names under which it is written."""


@dataclass(frozen=True)
class View:
    """One operator as it is written.

    - `node`: the whole expression. `name`: of the operator (``"softmax"``, ``"div"``), one name for one thing.
    - `operands`: given by position, a method's receiver first; `options`: given by name.
    - `spelled`: ``"function"``, ``"method"``, ``"operator"``, ``"module"`` (``nn.Softmax(1)(z)``, ``self.softmax(z)``).
    - `package`: what a function's name is imported from (``"torch"``, ``"math"``).
    """

    node: ast.expr
    name: str
    operands: tuple[ast.expr, ...]
    options: dict[str, ast.expr] = field(default_factory=dict)
    spelled: str = "function"
    package: str = ""

    def option(self, name: str, position: int, *others: str) -> ast.expr | None:
        """The argument called `name` (or one of `others`) or standing at `position` of the operands."""
        for known in (name, *others):
            if known in self.options:
                return self.options[known]
        return self.operands[position] if position < len(self.operands) else None

    @property
    def first(self) -> ast.expr | None:
        """The operand it is about."""
        return self.option("input", 0, "x", "self")


def view(source: Source, node: ast.AST) -> View | None:
    """What `node` computes; ``None`` if it is no operator that is known by its spelling."""
    if isinstance(node, ast.BinOp):
        name = _OPERATORS.get(type(node.op))
        return View(node, name, (node.left, node.right), spelled="operator") if name else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return View(node, "neg", (node.operand,), spelled="operator")
    if not isinstance(node, ast.Call):
        return None
    options = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    dotted = source.qualified(node.func)
    if dotted:
        package, _, name = dotted.rpartition(".")
        if package in _NUMERIC and not name[:1].isupper():
            return View(node, _SAME.get(name, name), tuple(node.args), options, "function", package)
        return None
    if isinstance(node.func, ast.Call):
        return _module(source, node, node.func)
    if isinstance(node.func, ast.Attribute):
        built = attribute_value(source, node.func)
        if isinstance(built, ast.Call) and source.qualified(built.func).startswith("torch.nn."):
            return _module(source, node, built)
        name = node.func.attr.rstrip("_")
        return View(node, _SAME.get(name, name), (node.func.value, *node.args), options, "method")
    if isinstance(node.func, ast.Name):
        built = module_value(source, node.func)
        if isinstance(built, ast.Call) and source.qualified(built.func).startswith("torch.nn."):
            return _module(source, node, built)
    return None


def _module(source: Source, call: ast.Call, built: ast.Call) -> View | None:
    dotted = source.qualified(built.func)
    name = dotted.rpartition(".")[2]
    if not dotted.startswith("torch.nn.") or name not in _SAME:
        return None
    options = {keyword.arg: keyword.value for keyword in built.keywords if keyword.arg}
    if name in ("Softmax", "LogSoftmax") and built.args:
        options.setdefault("dim", built.args[0])
    return View(call, _SAME[name], tuple(call.args), options, "module")


def attribute_value(source: Source, node: ast.Attribute) -> ast.expr | None:
    """What ``self.x`` was given, where its class gives it something once."""
    owner = source.class_of(node)
    if owner is None or not (isinstance(node.value, ast.Name) and node.value.id == "self"):
        return None
    given = [
        value for one in ast.walk(owner)
        if isinstance(one, (ast.Assign, ast.AnnAssign)) and one.value is not None
        for target in (one.targets if isinstance(one, ast.Assign) else [one.target])
        for part, value in each(target, one.value)
        if isinstance(part, ast.Attribute) and part.attr == node.attr
    ]
    return given[0] if len(given) == 1 else None


def module_value(source: Source, node: ast.Name) -> ast.expr | None:
    """What the name was given at the top of the file, where it is given something once in all of the file."""
    given = [
        one for one in ast.walk(source.tree)
        if isinstance(one, (ast.Name)) and one.id == node.id and isinstance(one.ctx, ast.Store)
    ]
    statement = source.statement(given[0]) if len(given) == 1 else None
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    return next((value for part, value in each(statement.targets[0], statement.value) if part is given[0]), None)


def named_value(source: Source, node: ast.expr) -> ast.expr | None:
    """What `node` was given, where it is ``self.x`` or a name of the whole file: the module that is called."""
    if isinstance(node, ast.Attribute):
        return attribute_value(source, node)
    return module_value(source, node) if isinstance(node, ast.Name) else None


def each(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What is given what: ``a, b = 1, 2`` gives two values."""
    if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)) and len(target.elts) == len(value.elts) \
            and not any(isinstance(one, ast.Starred) for one in (*target.elts, *value.elts)):
        for part, given in zip(target.elts, value.elts, strict=True):
            yield from each(part, given)
    else:
        yield target, value


def inside(node: ast.AST) -> Iterator[ast.expr]:
    """Expressions in and below `node`, outermost first."""
    yield from (one for one in ast.walk(node) if isinstance(one, ast.expr))


def spans(node: ast.expr, place: Location) -> bool:
    """True if `node` is exactly what stands at `place`."""
    return (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset) == (
        place.line, place.column, place.end_line, place.end_column,
    )


def find(source: Source, place: Location, fits: Callable[[View], bool]) -> View | None:
    """The operator at `place` for which `fits` holds: what stands there exactly; else the only one inside of its span; else the
    only one that stands on its line or in the statement there. ``None`` if there is none or more than one."""
    if place.file != source.file:
        return None
    on_line = [
        node for node in ast.walk(source.tree)
        if isinstance(node, ast.expr) and node.lineno <= place.line <= (node.end_lineno or node.lineno)
    ]
    exact = [seen for node in on_line if spans(node, place) and (seen := view(source, node)) is not None and fits(seen)]
    if exact:
        return exact[0]
    if place.column >= 0:
        held = [node for node in on_line if _covers(place, node)]
        seen_inside = [seen for node in held if (seen := view(source, node)) is not None and fits(seen)]
        if len(seen_inside) == 1:
            return seen_inside[0]
        if seen_inside:
            return None
    whole = [seen for node in on_line if node.lineno == place.line and (seen := view(source, node)) is not None and fits(seen)]
    if not whole:
        whole = [seen for node in on_line if (seen := view(source, node)) is not None and fits(seen)]
    return whole[0] if len(whole) == 1 else None


def _covers(place: Location, node: ast.expr) -> bool:
    begin, end = (place.line, place.column), (place.end_line, place.end_column)
    return begin <= (node.lineno, node.col_offset) and (node.end_lineno or 0, node.end_col_offset or 0) <= end


def named(*names: str) -> Callable[[View], bool]:
    """A test for operators called one of `names`."""
    return lambda seen: seen.name in names


def of_kind(kind: str) -> Callable[[View], bool]:
    """A test for operators that a framework reports as the canonical `kind`."""
    known = SPELLINGS.get(kind, frozenset({kind}))
    return lambda seen: seen.name in known or (kind in ("sqrt", "rsqrt", "reciprocal") and _is_power(seen, kind))


def _is_power(seen: View, kind: str) -> bool:
    """``x ** 0.5`` runs as a square root."""
    if seen.name != "pow" or len(seen.operands) < 2:
        return False
    return number(seen.operands[1]) == {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}[kind]


def number(node: ast.AST | None) -> float | None:
    """The number that `node` is, with its sign; ``None`` if it is none."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return float(node.value)
    return None
