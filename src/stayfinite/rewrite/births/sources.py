"""The user's source as a whole: what binds a name or an attribute, what a function returns, and who calls it.

Read once for an incident, from text alone: nothing is imported and nothing runs. Names are matched by their spelling, so
an answer may name a line too many; it never names a line that does not stand in the source.
"""

from __future__ import annotations

import ast
import linecache
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stayfinite.rewrite.births.statements import flat, last_name, root
from stayfinite.rewrite.project import unheard

MOST_FILES = 40
MOST_LINES = 20_000
"""Of all files together: about half a second of parsing and indexing."""
EACH = "*"
"""In a pick: any item of an iterable."""

Pick = tuple[int | str, ...]
"""Which part of a value is meant: an item of a tuple, a key, `EACH` for what a loop is given, outermost first."""
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Scope = ast.Module | Function
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_FILLS = frozenset({"append", "extend", "update", "add", "insert", "setdefault"})


class Binding(NamedTuple):
    """`value` is what a name or attribute was given, `pick` the part of it. `anew`: it replaces what was there; else it
    changes a part. `how`: ``"assigned"``, ``"loop"``, ``"default"`` (of a class's field), ``"option"`` (of a command line)."""

    value: ast.expr
    source: Source
    pick: Pick = ()
    anew: bool = True
    how: str = "assigned"
    owner: str = ""


class Source:
    """One file. `path`: as in code objects."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path, self.tree = path, tree
        self.parents: dict[ast.AST, ast.AST] = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self._bound: dict[ast.AST, dict[str, list[Binding]]] = {}

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What `node` lies in, innermost first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def scopes(self, node: ast.AST) -> Iterator[Scope]:
        """The functions `node` lies in, innermost first, and the module."""
        yield from (one for one in self.above(node) if isinstance(one, (*_FUNCTIONS, ast.Module)))

    def class_of(self, node: ast.AST) -> str:
        """Name of the class whose body `node` lies in; empty outside of classes."""
        return next((one.name for one in self.above(node) if isinstance(one, ast.ClassDef)), "")

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The innermost statement that `node` is or lies in."""
        return node if isinstance(node, ast.stmt) else next((one for one in self.above(node) if isinstance(one, ast.stmt)), None)

    def function_name(self, node: ast.AST) -> str:
        """Qualified name of the function `node` lies in."""
        names = [one.name for one in self.above(node) if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
        return ".".join(reversed(names)) or "<module>"

    def bound(self, scope: ast.AST) -> dict[str, list[Binding]]:
        """What each name of `scope` is given there, in the order of the lines."""
        if scope not in self._bound:
            found: dict[str, list[Binding]] = defaultdict(list)
            for node in _own(scope):
                for target, binding in bindings_of(node, self):
                    if isinstance(target, ast.Name):
                        found[target.id].append(binding)
                    elif isinstance(target, (ast.Subscript, ast.Attribute)) and (name := root(target)) and name != "self":
                        found[name].append(binding._replace(anew=False))
            self._bound[scope] = found
        return self._bound[scope]


class Project:
    """The files `paths`, the most important first; what cannot be read is left out."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.sources: dict[str, Source] = {}
        self.functions: dict[str, list[tuple[Source, Function]]] = defaultdict(list)
        self.classes: dict[str, tuple[Source, ast.ClassDef]] = {}
        self.calls: dict[str, list[tuple[Source, ast.Call]]] = defaultdict(list)
        self.attributes: dict[str, list[Binding]] = defaultdict(list)
        lines = 0
        for path in dict.fromkeys(paths):
            text = linecache.getlines(path)
            lines += len(text)
            if not text or lines > MOST_LINES or len(self.sources) >= MOST_FILES:
                continue
            try:
                with unheard():
                    tree = ast.parse("".join(text))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            self._add(Source(path, tree))

    def _add(self, source: Source) -> None:
        self.sources[source.path] = source
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.functions[node.name].append((source, node))
            elif isinstance(node, ast.ClassDef):
                self.classes.setdefault(node.name, (source, node))
                for field, binding in _fields(node, source):
                    self.attributes[field].append(binding)
            elif isinstance(node, ast.Call):
                self.calls[called(node)].append((source, node))
                for field, binding in _registered(node, source):
                    self.attributes[field].append(binding)
            for target, binding in bindings_of(node, source):
                owner = target
                while isinstance(owner, ast.Subscript):
                    owner = owner.value
                if isinstance(owner, ast.Attribute):
                    anew = binding.anew and owner is target
                    self.attributes[owner.attr].append(binding._replace(anew=anew, owner=source.class_of(node)))

    def family(self, name: str) -> set[str]:
        """The class `name`, the user's classes it derives from and those that derive from it."""
        found, pending = set(), [name]
        while pending:
            one = pending.pop()
            if one in found or one not in self.classes:
                continue
            found.add(one)
            pending += [last_name(base) for base in self.classes[one][1].bases]
        return found | {other for other, (_, node) in self.classes.items() if any(last_name(base) in found for base in node.bases)}

    def methods(self, owner: str, name: str) -> list[tuple[Source, Function]]:
        """Functions `name` in the family of class `owner`; the class's own ones alone, if there are any."""
        every = [(s, f) for s, f in self.functions.get(name, ()) if s.class_of(f) in self.family(owner)]
        return [one for one in every if one[0].class_of(one[1]) == owner] or every


def called(node: ast.Call) -> str:
    """Last name of what is called; empty if it is computed."""
    return last_name(node.func)


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of `scope` without those of functions and classes in it, in the order of the source."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield from _own(node)


def bindings_of(node: ast.AST, source: Source) -> Iterator[tuple[ast.expr, Binding]]:
    """(target, what it is given) of a statement or a comprehension's loop. A call that works in place binds what it is a
    method of, or its first argument."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _spread(target, node.value, (), source, "assigned")
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, Binding(node.value, source)
    elif isinstance(node, ast.AugAssign):
        yield node.target, Binding(node.value, source, anew=False)
    elif isinstance(node, ast.NamedExpr):
        yield node.target, Binding(node.value, source)
    elif isinstance(node, (ast.For, ast.AsyncFor)):
        yield from _spread(node.target, node.iter, (EACH,), source, "loop")
    elif isinstance(node, _COMPREHENSIONS):
        for part in node.generators:
            yield from _spread(part.target, part.iter, (EACH,), source, "loop")
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        yield from ((item.optional_vars, Binding(item.context_expr, source)) for item in node.items if item.optional_vars is not None)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        name = called(call)
        if name in _FILLS or (name.endswith("_") and not name.endswith("__")):
            owner = call.func.value if isinstance(call.func, ast.Attribute) else None
            if call.args and (owner is None or last_name(owner) in ("init", "nn")):
                owner = call.args[0]
            if owner is not None:
                yield owner, Binding(call, source, anew=False)


def _spread(target: ast.expr, value: ast.expr, pick: Pick, source: Source, how: str) -> Iterator[tuple[ast.expr, Binding]]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for place, part in enumerate(target.elts):
            yield from _spread(part, value, (*pick, place), source, how)
    else:
        yield from ((one, Binding(value, source, pick if one is target else (), True, how)) for one in flat(target))


def _fields(node: ast.ClassDef, source: Source) -> Iterator[tuple[str, Binding]]:
    """Fields of a dataclass or of a class, with what they are unless they are told."""
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None:
            yield line.target.id, Binding(line.value, source, how="default", owner=node.name)
        elif isinstance(line, ast.Assign):
            names = [target.id for target in line.targets if isinstance(target, ast.Name)]
            yield from ((name, Binding(line.value, source, how="default", owner=node.name)) for name in names)


def _registered(node: ast.Call, source: Source) -> Iterator[tuple[str, Binding]]:
    """Attributes that are made by calls: buffers, options of a command line."""
    name = called(node)
    texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if name in ("register_buffer", "register_parameter", "setattr") and len(node.args) > 1 and texts:
        yield texts[0], Binding(node.args[-1 if name == "setattr" else 1], source, owner=source.class_of(node))
    elif name in ("add_argument", "option") and texts:
        given = next((k.value for k in node.keywords if k.arg == "default"), None)
        words = [k.value.value for k in node.keywords if k.arg == "dest" and isinstance(k.value, ast.Constant)] or texts
        if given is not None:
            yield from ((str(word).lstrip("-").replace("-", "_"), Binding(given, source, how="option")) for word in words)
