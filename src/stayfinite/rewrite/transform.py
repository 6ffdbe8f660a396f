"""Puts an attempt loop round the chosen blocks of a syntax tree.

    for x, y in loader:                      for x, y in loader:
        loss = f(x, y)                           for _sf in __stayfinite__.attempts(7):
        loss.backward()                              if _sf.again: (rebind names)
        optimizer.step()            becomes          with _sf:
        if done: break                                   loss = f(x, y) ... optimizer.step()
        log(loss)                                if _sf.again: (rebind names)
                                                 if done: break
                                                 log(loss)

The body stays in its own frame, so closures, `super()`, breakpoints, tracebacks and coverage see the user's own lines;
inserted nodes carry the loop header's line. Normally the loop runs once. `break`, `continue` and `return` in the block
leave the attempt through a flag and are carried out after it, when the attempt has been judged.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from stayfinite.rewrite.blocks import Block, Site
from stayfinite.rewrite.summary import SCOPES, LoopNode

RUNTIME_NAME = "__stayfinite__"
BREAK, CONTINUE, RETURN = 1, 2, 3


def transform(tree: ast.Module, sites: list[Site]) -> ast.Module:
    """Wrap every site of `tree` in place and import the runtime at its top. Returns `tree`."""
    for site in sites:
        _wrap(site)
    if replace_next(tree) or sites:
        _import_runtime(tree)
    ast.fix_missing_locations(tree)
    return tree


def _parse(source: str, like: ast.stmt) -> list[ast.stmt]:
    statements = ast.parse(source).body
    for statement in statements:
        for node in ast.walk(statement):
            if hasattr(node, "lineno"):
                # one zero-width position on the header's line: excerpts never underline code that is not the user's
                node.lineno = node.end_lineno = like.lineno  # type: ignore[attr-defined]
                node.col_offset = node.end_col_offset = like.col_offset  # type: ignore[attr-defined]
    return statements


def _wrap(site: Site) -> None:
    loop, block = site.loop, site.block
    name = f"_sf_attempt_{block.id}"
    body, tail = loop.body[: site.extent], loop.body[site.extent :]
    leaver = _Leaver(name, loop)
    body = leaver.block(body, depth=0)
    rebind = _rebinding(name, block)
    opening = _parse(f"for {name} in {RUNTIME_NAME}.attempts({block.id}):\n    with {name}:\n        pass", loop)
    attempt_loop = opening[0]
    assert isinstance(attempt_loop, ast.For)
    with_statement = attempt_loop.body[0]
    assert isinstance(with_statement, ast.With)
    with_statement.body = body
    attempt_loop.body[:0] = _parse(rebind, loop)
    after = rebind + f"\nif {name}.error is not None:\n    with {name}: raise {name}.error"
    if BREAK in leaver.used:
        after += f"\nif {name}.exit == {BREAK}: break"
    if CONTINUE in leaver.used:
        after += f"\nif {name}.exit == {CONTINUE}: continue"
    closing = _parse_in_function(after, loop)
    if RETURN in leaver.used:
        closing += _parse_in_function(f"if {name}.exit == {RETURN}: return {name}.take_value()", loop)
    loop.body = [attempt_loop, *closing, *tail]


def _parse_in_function(source: str, like: ast.stmt) -> list[ast.stmt]:
    """Parse statements that are only legal inside a loop inside a function."""
    indented = "\n".join("        " + line for line in source.splitlines())
    function = _parse(f"def f():\n    while 1:\n{indented}", like)[0]
    assert isinstance(function, ast.FunctionDef)
    loop = function.body[0]
    assert isinstance(loop, ast.While)
    return loop.body


def _rebinding(attempt: str, block: Block) -> str:
    names = sorted(name for name in block.stored if not name.startswith("_sf_attempt_"))
    if not names:
        return f"if {attempt}.again: pass"
    lines = [f"if {attempt}.again:"]
    lines += [f"    if {name!r} in {attempt}.names: {name} = {attempt}.names[{name!r}]" for name in names]
    return "\n".join(lines)


class _Leaver:
    """Rewrites `break`, `continue` and `return` that leave the block, and remembers which were met."""

    def __init__(self, attempt: str, loop: LoopNode) -> None:
        self.attempt = attempt
        self.loop = loop
        self.used: set[int] = set()

    def block(self, statements: list[ast.stmt], depth: int) -> list[ast.stmt]:
        """`depth` counts the user's loops between the block and `statements`."""
        result: list[ast.stmt] = []
        for statement in statements:
            result.extend(self._statement(statement, depth))
        return result

    def _statement(self, node: ast.stmt, depth: int) -> list[ast.stmt]:
        if isinstance(node, ast.Break) and depth == 0:
            return self._leave(BREAK, node, depth)
        if isinstance(node, ast.Continue) and depth == 0:
            return self._leave(CONTINUE, node, depth)
        if isinstance(node, ast.Return):
            return self._leave(RETURN, node, depth, node.value)
        if isinstance(node, SCOPES):
            return [node]
        if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            returned_before = RETURN in self.used
            self.used.discard(RETURN)
            node.body = self.block(node.body, depth + 1)
            returned_inside = RETURN in self.used
            if returned_before:
                self.used.add(RETURN)
            node.orelse = self.block(node.orelse, depth)
            if not returned_inside:
                return [node]
            onward = "continue" if depth == 0 else "break"
            return [node, *_parse_in_function(f"if {self.attempt}.exit == {RETURN}: {onward}", self.loop)]
        for field in ("body", "orelse", "finalbody"):
            inner = getattr(node, field, None)
            if isinstance(inner, list) and inner and isinstance(inner[0], ast.stmt):
                setattr(node, field, self.block(inner, depth))
        for holder in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            holder.body = self.block(holder.body, depth)
        return [node]

    def _leave(self, how: int, node: ast.stmt, depth: int, value: ast.expr | None = None) -> list[ast.stmt]:
        self.used.add(how)
        statements = _parse(f"{self.attempt}.exit = {how}", node)
        if value is not None:
            keep = _parse(f"{self.attempt}.value = None", node)[0]
            assert isinstance(keep, ast.Assign)
            keep.value = value
            statements.insert(0, keep)
        # `continue` of the attempt loop runs the block's exit, so the attempt is judged before the user's jump is made
        onward: Callable[[], ast.stmt] = ast.Continue if depth == 0 else ast.Break
        statements.append(ast.copy_location(onward(), node))
        return statements


def _import_runtime(tree: ast.Module) -> None:
    position = 0
    for statement in tree.body:
        docstring = position == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not (docstring or future):
            break
        position += 1
    # on the line of the next statement: a tracer sees no line that Python would not have run
    line = tree.body[min(position, len(tree.body) - 1)].lineno
    anchor = ast.Pass(lineno=line, col_offset=0, end_lineno=line, end_col_offset=0)
    tree.body[position:position] = _parse(f"import stayfinite.rewrite.runtime as {RUNTIME_NAME}", anchor)


class _NextCalls(ast.NodeTransformer):
    """``next(it)`` becomes ``__stayfinite__.advance(it)``: a repetition must see the same item.

    ``next(model.parameters())`` and other fresh iterators are left: they repeat by themselves, and stand in functions
    that are compiled.
    """

    def __init__(self) -> None:
        self.changed = False

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        plain = isinstance(node.func, ast.Name) and node.func.id == "next" and node.args and not node.keywords
        if plain and isinstance(node.args[0], (ast.Name, ast.Attribute, ast.Subscript)):
            runtime = ast.copy_location(ast.Name(RUNTIME_NAME, ast.Load()), node.func)
            node.func = ast.copy_location(ast.Attribute(runtime, "advance", ast.Load()), node.func)
            self.changed = True
        return node


def _has_own_next(tree: ast.Module) -> bool:
    """True if `tree` gives the name `next` another meaning anywhere. A method of that name does not."""
    methods = {id(item) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in node.body}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound = [node.name] if id(node) not in methods else []
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound = [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Name):
            bound = [node.id] if not isinstance(node.ctx, ast.Load) else []
        else:
            bound = [node.arg] if isinstance(node, ast.arg) else []
        if "next" in bound:
            return True
    return False


def replace_next(tree: ast.Module) -> bool:
    """Replace the `next` calls of `tree` in place; True if there was one. The runtime must be imported then."""
    if _has_own_next(tree):
        return False
    visitor = _NextCalls()
    visitor.visit(tree)
    return visitor.changed
