"""What made an operand: back through one assignment, and through an argument of a function that is called in one place."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stayfinite.catalog.edits.source import Function, Source

MOST_HOPS = 4


@dataclass(frozen=True)
class Hop:
    """One step back from a name to what it was given.

    `how`: ``"assigned"`` (`statement` gives `name` the expression `value`) or ``"argument"`` (the only call of `function` gives
    it). `source`: of `value`.
    """

    how: str
    name: ast.Name
    value: ast.expr
    source: Source
    statement: ast.stmt | None = None
    function: Function | None = None
    inner: Source | None = None


@dataclass(frozen=True)
class Made:
    """Where going back from an operand ended: `value` in `source`, over `hops`, the last one first reached last."""

    value: ast.expr
    source: Source
    hops: tuple[Hop, ...] = ()


class Project:
    """All sources of the user's, read once. Files that are no Python are left out."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources: dict[str, Source] = {}
        for file in list(sources):
            with contextlib.suppress(ValueError, KeyError):  # no Python, or gone meanwhile
                self.sources[file] = Source(file, sources[file])

    def get(self, file: str) -> Source | None:
        """The source of `file`, if it is known and Python."""
        return self.sources.get(file)

    def made(self, source: Source, node: ast.expr) -> Iterator[Made]:
        """`node`, and what it was given, one step further each time."""
        hops: tuple[Hop, ...] = ()
        for _ in range(MOST_HOPS):
            yield Made(node, source, hops)
            if not isinstance(node, ast.Name):
                return
            hop = assigned(source, node) or self._argument(source, node)
            if hop is None:
                return
            node, source, hops = hop.value, hop.source, (*hops, hop)

    def calls_of(self, function: Function, home: Source) -> list[tuple[Source, ast.Call]]:
        """Every call of a function or method by its name, in all sources."""
        found = []
        method = home.class_of(function) is not None
        for source in self.sources.values():
            for node in ast.walk(source.tree):
                if not isinstance(node, ast.Call):
                    continue
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                alias = source.imports.get(called, "") if isinstance(node.func, ast.Name) else ""
                same = called == function.name or alias.rpartition(".")[2] == function.name
                if same and (isinstance(node.func, ast.Attribute) or not method):
                    found.append((source, node))
        return found

    def defined(self, source: Source, call: ast.Call) -> tuple[Source, Function] | None:
        """The user's function that `call` calls, if one has its name; methods of ``self`` in the same class."""
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if isinstance(call.func, ast.Attribute) and source.qualified(call.func).startswith(("torch.", "numpy.", "math.")):
            return None
        name = source.imports.get(name, name).rpartition(".")[2] if isinstance(call.func, ast.Name) else name
        found = [
            (one, node) for one in self.sources.values() for node in ast.walk(one.tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name
        ]
        return found[0] if len(found) == 1 else None

    def _argument(self, source: Source, node: ast.Name) -> Hop | None:
        """What the only call of the function round `node` gives its parameter of that name, if nothing else binds it."""
        function = source.scope(node)
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return None
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
        if node.id not in names or bindings(function, node.id):
            return None
        calls = self.calls_of(function, source)
        if len(calls) != 1:
            return None
        home, call = calls[0]
        value = argument_of(call, function, node.id, method=source.class_of(function) is not None)
        return Hop("argument", node, value, home, function=function, inner=source) if value is not None else None


def argument_of(call: ast.Call, function: Function, name: str, *, method: bool) -> ast.expr | None:
    """What `call` gives the parameter `name`; ``None`` if it cannot be told from the text."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    order = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    if method and order[:1] == ["self"]:
        order = order[1:]
    if name not in order or any(isinstance(one, ast.Starred) for one in call.args):
        return None
    at = order.index(name)
    return call.args[at] if at < len(call.args) else None


def bindings(scope: ast.AST, name: str) -> list[ast.Name]:
    """Every place in `scope` where `name` is given something, inner functions left out."""
    return [one for one in _own(scope) if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, (ast.Store, ast.Del))]


def uses(scope: ast.AST, name: str) -> list[ast.Name]:
    """Every place in `scope`, inner functions included, where `name` is read."""
    return [one for one in ast.walk(scope) if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)]


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    todo = list(ast.iter_child_nodes(scope))
    while todo:
        node = todo.pop(0)
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            todo.extend(ast.iter_child_nodes(node))


def assigned(source: Source, node: ast.Name) -> Hop | None:
    """The plain assignment that gave `node` its value: before it in the same function, in its block or one round that, with no
    other one of that name between them. ``None`` where that cannot be told."""
    scope = source.scope(node)
    here = source.statement(node)
    if here is None or isinstance(scope, ast.Lambda):
        return None
    before: list[ast.Assign | ast.AnnAssign] = []
    others: list[int] = []
    for target in bindings(scope, node.id):
        statement = source.statement(target)
        plain = isinstance(statement, (ast.Assign, ast.AnnAssign)) and target in _targets(statement)
        if plain and isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            before.append(statement)
        elif isinstance(source.parents.get(target), ast.NamedExpr):
            walrus = source.parents[target]
            assert isinstance(walrus, ast.NamedExpr)
            if statement is here or _dominates(source, statement, here):
                return Hop("assigned", node, walrus.value, source, statement)
            others.append(target.lineno)
        else:
            others.append(target.lineno)
    able = [one for one in before if one.lineno < here.lineno and _dominates(source, one, here)]
    if not able:
        return None
    chosen = max(able, key=lambda one: one.lineno)
    between = [one.lineno for one in before if one is not chosen and chosen.lineno < one.lineno <= here.lineno]
    if between or any(chosen.lineno < line <= here.lineno for line in others):
        return None
    assert chosen.value is not None
    return Hop("assigned", node, chosen.value, source, chosen)


def _targets(statement: ast.stmt | None) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets if len(statement.targets) == 1 else []
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def _dominates(source: Source, first: ast.stmt | None, then: ast.stmt) -> bool:
    """True if `first` stands in a block that `then` is in as well: what reaches `then` has passed it."""
    if first is None:
        return False
    block = source.parents.get(first)
    if block is None or block not in set(source.above(then)):
        return False
    return any(one is then or then in set(ast.walk(one)) for one in source.block(first))  # not in the other branch of an `if`


def unchanged(source: Source, value: ast.expr, since: ast.stmt, until: ast.AST) -> bool:
    """True if every name that `value` reads is given nothing between the statement `since` and the place `until`, and `value` is
    only names, attributes, indices by numbers and numbers, so that reading it again gives the same."""
    if not isinstance(value, (ast.Name, ast.Attribute, ast.Constant)):
        return False
    return not rebound(source, value, since.lineno + 1, until)


def rebound(source: Source, value: ast.expr, first: int, until: ast.AST) -> bool:
    """True if a name in `value` is given something on a line from `first` to before the place `until`, in the function of that."""
    scope, line = source.scope(until), getattr(until, "lineno", 0)
    names = {one.id for one in ast.walk(value) if isinstance(one, ast.Name)}
    return any(first <= bound.lineno < line for name in names for bound in bindings(scope, name))
