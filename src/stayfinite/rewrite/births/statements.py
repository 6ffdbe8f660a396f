"""What a statement of the user's source assigns and reads, and the careful evaluation of the simple ones among its parts."""

from __future__ import annotations

import ast
import builtins
import functools
import linecache
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stayfinite.rewrite.births.sight import is_array
from stayfinite.rewrite.project import unheard


class NotSimple(Exception):
    """An expression whose evaluation might run code of the user's, or has no value here."""


@dataclass(frozen=True)
class Statement:
    """One statement, without the bodies of compound ones.

    `targets`: what it binds or changes in place, as expressions; `values`: the expressions it computes; `reads`: the
    longest chains of names, attributes and simple indices in them. `rebinds`: it binds a name that it reads; `computes`: it
    holds arithmetic.
    """

    node: ast.stmt
    targets: tuple[ast.expr, ...] = ()
    values: tuple[ast.expr, ...] = ()
    reads: tuple[ast.expr, ...] = ()
    rebinds: bool = False
    in_place: bool = field(default=False)
    """It changes what it names (`x += ...`, `x[i] = ...`, `rows.append(...)`) and does not bind a name anew."""
    computes: bool = False


@functools.lru_cache(maxsize=512)
def statements_of(filename: str) -> dict[int, Statement]:
    """The statements of a source file by each line they stand on; an inner one hides the one it lies in."""
    try:
        with unheard():
            tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[int, Statement] = {}
    for node in sorted((n for n in ast.walk(tree) if isinstance(n, ast.stmt)), key=lambda n: (n.lineno, n.col_offset)):
        body = getattr(node, "body", None)
        end = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno or node.lineno
        statement = _statement(node)
        for line in range(node.lineno, max(end, node.lineno) + 1):
            found[line] = statement
    return found


def _statement(node: ast.stmt) -> Statement:
    targets: list[ast.expr] = []
    values: list[ast.expr] = []
    in_place = False
    if isinstance(node, ast.Assign):
        targets, values = [t for target in node.targets for t in flat(target)], [node.value]
        in_place = any(isinstance(target, ast.Subscript) for target in targets)
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        targets, values = [node.target], [node.value] if node.value is not None else []
        in_place = isinstance(node, ast.AugAssign)
    elif isinstance(node, (ast.For, ast.AsyncFor)):
        targets, values = flat(node.target), [node.iter]
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        targets = [t for item in node.items if item.optional_vars is not None for t in flat(item.optional_vars)]
        values = [item.context_expr for item in node.items]
    elif isinstance(node, ast.Return):
        values = [node.value] if node.value is not None else []
    elif isinstance(node, ast.Expr):
        values = [node.value]
        if isinstance(node.value, ast.Call):
            # a call for its effect changes what it is a method of, or what it was handed: `rows.append(x)`, `fill(x)`
            in_place = True
            called = node.value.func
            targets = [called.value] if isinstance(called, ast.Attribute) else []
            targets += [argument for argument in node.value.args if isinstance(argument, (ast.Name, ast.Attribute))]
            targets += [k.value for k in node.value.keywords if k.arg == "out"]
    elif isinstance(node, (ast.If, ast.While)):
        values = [node.test]
    targets += [part.target for value in values for part in ast.walk(value) if isinstance(part, ast.NamedExpr)]
    reads = [chain for value in values for chain in chains(value)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    read = {part.id for chain in reads for part in ast.walk(chain) if isinstance(part, ast.Name)}
    computes = isinstance(node, ast.AugAssign) or any(isinstance(part, ast.BinOp) for value in values for part in ast.walk(value))
    return Statement(node, tuple(targets), tuple(values), tuple(reads), bool(names & read) and not in_place, in_place, computes)


def flat(target: ast.expr) -> list[ast.expr]:
    """The single targets of an assignment's left side."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return [one for element in target.elts for one in flat(element)]
    return [target.value] if isinstance(target, ast.Starred) else [target]


def last_name(node: ast.expr) -> str:
    """The name that a chain of attributes ends with; empty if it is no chain."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def root(target: ast.expr) -> str:
    """The name that a chain of attributes and indices begins with; empty if it begins with something else."""
    while isinstance(target, (ast.Attribute, ast.Subscript)):
        target = target.value
    return target.id if isinstance(target, ast.Name) else ""


def chains(node: ast.AST) -> list[ast.expr]:
    """The longest chains of names, attributes and simple indices that `node` reads; a method's receiver, not its name."""
    if isinstance(node, ast.Lambda):
        return []
    if isinstance(node, ast.Call):
        head = chains(node.func.value) if isinstance(node.func, ast.Attribute) else []
        rest = [*node.args, *(keyword.value for keyword in node.keywords)]
        return head + [chain for argument in rest for chain in chains(argument)]
    if isinstance(node, ast.expr) and is_chain(node):
        return [node]
    return [chain for child in ast.iter_child_nodes(node) for chain in chains(child)]


def is_chain(node: ast.expr) -> bool:
    """True for ``x``, ``self.x``, ``x.values[i, 3]``, ``frame["a"].iloc[i : i + 8]``."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Subscript) and not _is_simple(node.slice):
            return False
        node = node.value
    return isinstance(node, ast.Name)


def _is_simple(node: ast.AST) -> bool:
    simple = (ast.Name, ast.Attribute, ast.Constant, ast.Slice, ast.Tuple, ast.List, ast.UnaryOp, ast.BinOp, ast.Subscript,
              ast.expr_context, ast.operator, ast.unaryop)
    return all(isinstance(part, simple) for part in ast.walk(node))


def evaluate(node: ast.AST, names: Mapping[str, Any], outer: Mapping[str, Any]) -> Any:
    """The value of a chain, a constant or an index, without running code of the user's.

    **Raises** NotSimple for anything else, and where there is no such value.
    """
    try:
        return _evaluate(node, names, outer)
    except NotSimple:
        raise
    except Exception as error:
        raise NotSimple(str(error)) from None


def _evaluate(node: ast.AST, names: Mapping[str, Any], outer: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        for space in (names, outer, vars(builtins)):
            if node.id in space:
                return space[node.id]
        raise NotSimple(node.id)
    if isinstance(node, ast.Attribute):
        return attribute(_evaluate(node.value, names, outer), node.attr)
    if isinstance(node, ast.Subscript):
        base = _evaluate(node.value, names, outer)
        if not (isinstance(base, (list, tuple, dict, str)) or is_array(base) or type(base).__module__.startswith("pandas.")):
            raise NotSimple("an index into an object of the user's")
        return base[_evaluate(node.slice, names, outer)]
    if isinstance(node, ast.Slice):
        parts = [part if part is None else _evaluate(part, names, outer) for part in (node.lower, node.upper, node.step)]
        return slice(*parts)
    if isinstance(node, (ast.Tuple, ast.List)):
        items = [_evaluate(item, names, outer) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_evaluate(node.operand, names, outer))
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        return BINARY[type(node.op)](_evaluate(node.left, names, outer), _evaluate(node.right, names, outer))
    raise NotSimple(type(node).__name__)


def attribute(value: Any, name: str) -> Any:
    """`value.name`, unless that is a property of the user's."""
    found = getattr(type(value), name, None)
    if isinstance(found, (property, functools.cached_property)) and not is_array(value):
        raise NotSimple("a property")
    return getattr(value, name)


_UNARY: dict[type[ast.unaryop], Any] = {
    ast.USub: lambda x: -x, ast.UAdd: lambda x: +x, ast.Invert: lambda x: ~x, ast.Not: lambda x: not x,
}
BINARY: dict[type[ast.operator], Any] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b, ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b, ast.Mod: lambda a, b: a % b, ast.Pow: lambda a, b: a**b, ast.MatMult: lambda a, b: a @ b,
    ast.LShift: lambda a, b: a << b, ast.RShift: lambda a, b: a >> b, ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b, ast.BitXor: lambda a, b: a ^ b,
}
