"""Which line of a class reserved memory for its state and left it as it was, or is the only one to write it.

Read from the source: the line where the attribute is made, or registered, out of `torch.empty` and its relatives; and the
line that writes it, if there is only one.
"""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

from stayfinite.records.location import Location
from stayfinite.rewrite.project import is_user_file

_RESERVE = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "UninitializedParameter", "UninitializedBuffer"})
"""Calls that give memory nobody wrote."""
_SIZED = frozenset({"Tensor", "FloatTensor", "DoubleTensor", "HalfTensor", "new"})
"""Old constructors that reserve memory when they are given sizes, and copy when they are given numbers."""
_REGISTER = frozenset({"register_parameter", "register_buffer"})


def of_attribute(module: nn.Module, leaf: str, relative: Callable[[str], str]) -> Location | None:
    """The line of a class of `module` that makes its parameter or buffer `leaf` of memory nobody wrote."""
    for kind in type(module).__mro__:
        found = _source(kind)
        if found is None:
            continue
        file, tree = found
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for value in _made(function, leaf):
                call = _reserving(value, function.body)
                if call is not None:
                    return _location(file, call, f"{kind.__qualname__}.{function.name}", relative)
    return None


def writer_of(module: nn.Module, leaf: str, relative: Callable[[str], str]) -> Location | None:
    """The one line of the classes of `module` that writes its `leaf` after it was made; ``None`` if there are several or none."""
    found: list[Location] = []
    for kind in type(module).__mro__:
        known = _source(kind)
        for function in (node for node in ast.walk(known[1]) if isinstance(node, ast.FunctionDef)) if known is not None else ():
            if known is not None and function.name != "__init__":
                where = f"{kind.__qualname__}.{function.name}"
                found += [_location(known[0], node, where, relative) for node in _writes(function, leaf)]
    return found[0] if len(found) == 1 else None


def _writes(function: ast.FunctionDef, leaf: str) -> Iterator[ast.expr]:
    """Calls of methods in `function` that write `self.<leaf>` in place (their names end in ``_``), and what is assigned to it
    or to items of it."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.endswith("_"):
            if not node.func.attr.endswith("__") and _is_own(node.func.value, leaf):
                yield node
        elif isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(_is_own(target, leaf) for target in targets):
                yield node.value


def _is_own(node: ast.expr, leaf: str) -> bool:
    while isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr == "data"):
        node = node.value
    return isinstance(node, ast.Attribute) and node.attr == leaf and isinstance(node.value, ast.Name) and node.value.id == "self"


def of_name(file: str, name: str, relative: Callable[[str], str]) -> Location | None:
    """The same of the variable `name`, anywhere in `file`; ``None`` too if several lines make it."""
    if not is_user_file(file):
        return None
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None
    found = [
        call for node in ast.walk(tree) if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        and (call := _reserving(node.value, ())) is not None
    ]
    return _location(file, found[0], "", relative) if len(found) == 1 else None


def _source(kind: type) -> tuple[str, ast.AST] | None:
    try:
        file = inspect.getsourcefile(kind)
        if file is None or not is_user_file(file):
            return None
        lines, first = inspect.getsourcelines(kind)
    except (OSError, TypeError):
        return None
    indent = len(lines[0]) - len(lines[0].lstrip())
    try:
        tree = ast.parse("".join(line[indent:] if line.strip() else line for line in lines))
    except SyntaxError:
        return None
    ast.increment_lineno(tree, first - 1)
    return file, tree


def _made(function: ast.FunctionDef, leaf: str) -> Iterator[ast.expr]:
    """What `self.<leaf>` is set to, or registered as, in `function`."""
    for node in ast.walk(function):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets: Sequence[ast.expr] = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Attribute) and one.attr == leaf for target in targets for one in ast.walk(target)):
                yield node.value
        elif isinstance(node, ast.Call) and _called(node) in _REGISTER and len(node.args) > 1:
            if isinstance(node.args[0], ast.Constant) and node.args[0].value == leaf:
                yield node.args[1]


def _reserving(value: ast.expr, body: Sequence[ast.stmt]) -> ast.Call | None:
    """The call in `value` that reserves memory; a name is looked up among the assignments of `body`."""
    for node in ast.walk(value):
        if isinstance(node, ast.Call):
            name = _called(node)
            if name in _RESERVE or (name in _SIZED and node.args and not isinstance(node.args[0], (ast.List, ast.Tuple))):
                return node
    if isinstance(value, ast.Call) and value.args and isinstance(value.args[0], ast.Name):
        value = value.args[0]
    if isinstance(value, ast.Name):
        for statement in body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == value.id for t in node.targets):
                    found = _reserving(node.value, ())
                    if found is not None:
                        return found
    return None


def _called(node: ast.Call) -> str:
    function: Any = node.func
    return str(getattr(function, "attr", getattr(function, "id", "")))


def _location(file: str, node: ast.expr, function: str, relative: Callable[[str], str]) -> Location:
    code = linecache.getline(file, node.lineno).strip()
    return Location(file=relative(file), line=node.lineno, function=function, code=code, expression=ast.unparse(node))
