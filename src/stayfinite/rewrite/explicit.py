"""The transaction as users write it: a step that is a function, or a block that can run again.

Both are blocks of `runtime` like those that rewriting makes. What a repetition must restore is read from the source once,
the first time the step runs.
"""

from __future__ import annotations

import ast
import ctypes
import inspect
import linecache
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

from stayfinite.errors import UsageError
from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Analysis, Block
from stayfinite.rewrite.project import SourceIndex
from stayfinite.rewrite.runtime import Attempt

_known: dict[tuple[CodeType, int], Block] = {}


def attempts(frame: FrameType) -> Iterable[Attempt]:
    """The attempts of the block that the caller's `for attempt in guard.step():` opens, in `frame`.

    **Raises** UsageError if the block leaves by `break`, `continue` or `return`, which cannot be repeated.
    """
    key = (frame.f_code, frame.f_lineno)
    if key not in _known:
        _known[key] = _describe_block(frame)
    return _rebinding(runtime.attempts_of(_known[key], frame), frame)


def _rebinding(source: Iterable[Attempt], frame: FrameType) -> Iterator[Attempt]:
    """Give the frame its names back before each repetition, and after the last one."""
    attempt: Attempt | None = None
    for attempt in source:
        if attempt.again:
            _rebind(frame, attempt.names)
        yield attempt
    if attempt is not None and attempt.again:
        _rebind(frame, attempt.names)
    if attempt is not None and attempt.error is not None:
        raise attempt.error


def _rebind(frame: FrameType, names: dict[str, Any]) -> None:
    """Set names of a running frame from outside it."""
    local_names = frame.f_locals
    local_names.update(names)
    if local_names is not frame.f_globals and sys.version_info < (3, 13):
        # until Python 3.13 a function's f_locals is a copy that has to be written back
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


def call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run `function` as one step: once normally, again with the same arguments when it is replayed."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frame = sys._getframe(0)
    if code is None:
        return function(*args, **kwargs)
    key = (code, code.co_firstlineno)
    if key not in _known:
        _known[key] = _describe_function(code)
    result: Any = None
    first = True
    attempt = Attempt()
    args = list(args)  # type: ignore[assignment]  # so that arguments changed in place can be put back
    for attempt in runtime.attempts_of(_known[key], frame):
        if attempt.again:
            args, kwargs = attempt.names.get("args", args), attempt.names.get("kwargs", kwargs)
        with attempt:
            value = function(*args, **kwargs)
            if first:
                result = value
        first = False
    if attempt.error is not None:
        raise attempt.error
    return result


def _tree_of(filename: str) -> ast.Module | None:
    source = "".join(linecache.getlines(filename))
    try:
        return ast.parse(source) if source else None
    except SyntaxError:
        return None


def _analysis(filename: str) -> tuple[Analysis, ast.Module] | None:
    tree = _tree_of(filename)
    if tree is None:
        return None
    index = SourceIndex(os.path.dirname(os.path.realpath(filename)))
    return Analysis(index.closure(filename, tree)), tree


def _register(block: Block) -> Block:
    runtime.blocks[block.id] = block
    return block


def _describe_block(frame: FrameType) -> Block:
    filename, line = frame.f_code.co_filename, frame.f_lineno
    found = _analysis(filename)
    if found is not None:
        analysis, tree = found
        for node in ast.walk(tree):
            if isinstance(node, ast.For) and node.lineno <= line <= (node.iter.end_lineno or node.lineno) and _is_step(node):
                _refuse_jumps(node, filename)
                holder = node.body[0]
                body = holder.body if isinstance(holder, ast.With) else node.body
                outer = analysis.enclosing_loop(node)
                return _register(analysis.describe(_next_id(), filename, outer, body, by_hand=False))
    raise UsageError(
        f"{filename}:{line}: the source of this `for attempt in guard.step():` cannot be read; put the step into a "
        "function and decorate it with @guard.step"
    )


def _is_step(node: ast.For) -> bool:
    return isinstance(node.iter, ast.Call) and isinstance(node.iter.func, ast.Attribute) and node.iter.func.attr == "step"


def _refuse_jumps(loop: ast.For, filename: str) -> None:
    def visit(node: ast.AST, inside_loop: bool) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            return
        leaves = isinstance(node, ast.Return) or (isinstance(node, (ast.Break, ast.Continue)) and not inside_loop)
        if leaves:
            word = type(node).__name__.lower()
            raise UsageError(
                f"{filename}:{getattr(node, 'lineno', loop.lineno)}: `{word}` leaves a block that must be able to run "
                "again; set a flag in the block and test it after the block"
            )
        for child in ast.iter_child_nodes(node):
            visit(child, inside_loop or isinstance(node, (ast.For, ast.While)))

    for statement in loop.body:
        visit(statement, False)


def _describe_function(code: CodeType) -> Block:
    found = _analysis(code.co_filename)
    if found is not None:
        analysis, tree = found
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                if first <= code.co_firstlineno <= node.lineno:
                    return _register(analysis.describe_function(_next_id(), code.co_filename, node))
    # no source: arguments are handed over again, and what the step changes elsewhere is not known
    nothing: frozenset[str] = frozenset()
    loaded = frozenset({"args", "kwargs", "function"})
    return _register(
        Block(_next_id(), code.co_filename, code.co_firstlineno, code.co_name, False, nothing, loaded, nothing, nothing,
              nothing, nothing, nothing)
    )


def _next_id() -> int:
    return max(runtime.blocks, default=0) + 1
