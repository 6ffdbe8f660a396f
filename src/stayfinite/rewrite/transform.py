"""Puts an attempt loop round the chosen blocks of a syntax tree.

    for x, y in loader:                      for x, y in loader:
        loss = f(x, y)                           for _sf in <runtime>.attempts(7):
        loss.backward()                              if _sf.again: (rebind names)
        optimizer.step()            becomes          with _sf:
        if done: break                                   loss = f(x, y) ... optimizer.step()
        log(loss)                                if _sf.again: (rebind names)
                                                 if done: break
                                                 log(loss)

The body stays in its own frame, so closures, `super()`, breakpoints, tracebacks and coverage see the user's own lines;
inserted nodes carry the loop header's line. Normally the loop runs once. `break`, `continue` and `return` in the block
leave the attempt through a flag and are carried out after it, when the attempt has been judged.

The runtime is asked for where it is used and given no name: a script that lists its globals finds no module of ours among them,
and a function that is pickled by its code brings nothing along but that call.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from stayfinite.rewrite.blocks import Block, Site
from stayfinite.rewrite.summary import SCOPES, LoopNode, handed_out

RUNTIME = "__import__('stayfinite.rewrite.runtime', None, None, ('attempts',))"
"""An expression for the runtime, which is imported already; half a microsecond."""
BREAK, CONTINUE, RETURN = 1, 2, 3


def transform(tree: ast.Module, sites: list[Site]) -> ast.Module:
    """Wrap every site of `tree` in place. Returns `tree`."""
    calls = next_calls(tree)
    for call in calls:  # ``next(it)`` becomes ``<runtime>.advance(it)``
        call.func = _runtime("advance", call.func)
    copy_locals(tree, sites)
    for site in sites:
        _wrap(site)
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
    if handed_out(body) is not None:
        body, tail = _yielded_after(f"{name}_yielded", body, tail)
    leaver = _Leaver(name, loop)
    body = leaver.block(body, depth=0)
    rebind = _rebinding(name, block)
    opening = _parse(f"for {name} in {RUNTIME}.attempts({block.id}):\n    with {name}:\n        pass", loop)
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


def _yielded_after(name: str, body: list[ast.stmt], tail: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """A block that ends with ``yield value``: the value is made inside of it and handed out behind it."""
    last, value = body[-1], handed_out(body)
    assert isinstance(last, ast.Expr) and value is not None and value.value is not None
    keep = ast.copy_location(ast.Assign([ast.copy_location(ast.Name(name, ast.Store()), last)], value.value), last)
    value.value = ast.copy_location(ast.Name(name, ast.Load()), last)
    return [*body[:-1], keep], [last, *tail]


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
    """Rewrites `break`, `continue` and `return` that leave the block, and remembers which were met.

    A jump can be called off: by an exception in a `finally` or an `__exit__` that it passes, or by another jump in the
    `finally`. The flag then goes back to what it was: a `finally` works with a clean flag and gives back the one it
    found if it is run to its end; a handler, and what follows a `with`, start from a clean one.
    """

    def __init__(self, attempt: str, loop: LoopNode) -> None:
        self.attempt = attempt
        self.loop = loop
        self.used: set[int] = set()
        self.jumps = 0
        """Jumps rewritten so far."""
        self.finals = 0
        """How many `finally` are round the statement at hand."""

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
        if isinstance(node, (ast.Try, ast.TryStar)):
            return [self._try(node, depth)]
        jumps = self.jumps
        for field in ("body", "orelse"):
            inner = getattr(node, field, None)
            if isinstance(inner, list) and inner and isinstance(inner[0], ast.stmt):
                setattr(node, field, self.block(inner, depth))
        for case in getattr(node, "cases", []):
            case.body = self.block(case.body, depth)
        if isinstance(node, (ast.With, ast.AsyncWith)) and self.jumps > jumps:
            return [node, *_parse(f"{self.attempt}.exit = 0", node)]
        return [node]

    def _try(self, node: ast.Try | ast.TryStar, depth: int) -> ast.stmt:
        jumps = self.jumps
        node.body = self.block(node.body, depth)
        if self.jumps > jumps:
            for handler in node.handlers:
                handler.body[:0] = _parse(f"{self.attempt}.exit = 0", handler.body[0])
        for handler in node.handlers:
            handler.body = self.block(handler.body, depth)
        node.orelse = self.block(node.orelse, depth)
        passed = self.jumps > jumps
        if node.finalbody:
            self.finals += 1
            first, last = node.finalbody[0], node.finalbody[-1]
            node.finalbody = self.block(node.finalbody, depth)
            if passed:
                keep = _parse(f"{self.attempt}.keep({self.finals})", first)
                node.finalbody = [*keep, *node.finalbody, *_parse(f"{self.attempt}.give_back({self.finals})", last)]
            self.finals -= 1
        return node

    def _leave(self, how: int, node: ast.stmt, depth: int, value: ast.expr | None = None) -> list[ast.stmt]:
        self.used.add(how)
        self.jumps += 1
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


def _has_own(name: str, tree: ast.Module) -> bool:
    """True if `tree` gives the builtin `name` another meaning anywhere. A method of that name does not."""
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
        if name in bound:
            return True
    return False


def next_calls(tree: ast.Module) -> list[ast.Call]:
    """The calls of `next` that a repetition must answer with the same item again.

    ``next(model.parameters())`` and other fresh iterators repeat by themselves, and stand in functions that are
    compiled.
    """
    if _has_own("next", tree):
        return []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args and not node.keywords]
    return [
        node
        for node in calls
        if isinstance(node.func, ast.Name) and node.func.id == "next"
        and isinstance(node.args[0], (ast.Name, ast.Attribute, ast.Subscript))
    ]


def copy_locals(tree: ast.Module, sites: list[Site]) -> None:
    """In functions with a wrapped loop, ``locals()``, ``vars()`` and ``dir()`` give a copy without our name in it.

    A copy because, before Python 3.13, whoever reads the names of a frame refreshes the one dict that all its calls of
    `locals` return: a configuration kept from the function's first line would fill with the loop's names.
    """
    loops = {id(site.loop) for site in sites}
    listing = {name for name in ("locals", "vars", "dir") if not _has_own(name, tree)}
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        statements = [statement for statement in function.body if not isinstance(statement, SCOPES)]
        own = [node for statement in statements for node in _in_frame(statement)]
        if loops.isdisjoint(map(id, own)):
            continue
        for node in own:
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in listing):
                continue
            if not node.args and not node.keywords:
                node.args = [ast.copy_location(ast.Call(node.func, [], []), node)]
                node.func = _runtime("without_ours", node.func)


def _in_frame(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and what is below it, as far as it runs in the same frame."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*SCOPES, ast.comprehension)):
            yield from _in_frame(child)


def _runtime(name: str, like: ast.expr) -> ast.expr:
    found = ast.parse(f"{RUNTIME}.{name}", mode="eval").body
    for node in ast.walk(found):
        ast.copy_location(node, like)
    return found
