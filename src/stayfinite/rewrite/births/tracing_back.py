"""From an expression back to the lines that make its value, in the text of the user's source.

A static slice: names are followed to what they were assigned, arguments to their calls, calls to what the function returns,
attributes to where a class sets them, a batch through its loader and data set to the tensors it is cut from. Nothing runs.
Where the text does not tell which of several it was, all of them are reached, the nearest first.
"""

from __future__ import annotations

import ast
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from stayfinite.rewrite.births.definitions import (
    SEVERAL,
    default,
    in_force,
    latest_first,
    parameters,
    place_of,
    positional,
    results,
)
from stayfinite.rewrite.births.sources import EACH, Binding, Function, Pick, Project, Source, called
from stayfinite.rewrite.births.statements import last_name, root

DEPTH = 24
"""Bindings that are gone back through."""
MOST = 3000
"""Expressions that are looked at."""
_LOADERS = frozenset({"DataLoader", "split", "chunk", "batched", "array_split"})
_WRAPPERS = frozenset({"Subset", "random_split", "DataLoader", "list", "tuple", "iter", "next", "cycle", "tqdm", "islice", "sorted",
                       "reversed", "shuffle", "loads", "dumps", "prefetch", "StackDataset", "dict", "copy", "deepcopy", "asdict",
                       "Namespace"})
"""Calls that give the items of their first argument."""
_RECORDS = frozenset({"NamedTuple", "dataclass"})
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp)
PLAIN = frozenset(dir(list)) | frozenset(dir(dict)) | frozenset(dir(str)) | frozenset(
    {"step", "backward", "mean", "sum", "std", "view", "reshape", "to", "sample", "reset", "item", "float", "half", "size"}
)
"""Methods that are not looked for among the user's classes unless the object is `self`."""

Calls = tuple[tuple[ast.AST, "Call"], ...]
"""The calls that were gone down through: (function, its call), the innermost last."""


class Call(NamedTuple):
    """A call of a function of the user's, with those round it."""

    node: ast.Call
    source: Source
    calls: Calls


class Reached(NamedTuple):
    """An expression that the value comes from. `whole`: batches were cut from what it is; `how`: as `Binding.how`, or
    ``"argument"``, ``"return"``, ``"written"`` (into a part), ``"item"`` (of a data set), ``"filter"``, ``""`` for the beginning;
    `depth`: bindings between it and the beginning."""

    node: ast.expr
    source: Source
    pick: Pick
    whole: bool
    how: str
    depth: int
    calls: Calls


def trace_back(project: Project, source: Source, node: ast.expr, deadline: float, pick: Pick = ()) -> Iterator[Reached]:
    """What the value of `node`, or the part of it that is meant by `pick`, comes from, the nearest first. `deadline`: of
    `time.monotonic()`."""
    yield from _Slice(project, deadline).go(Reached(node, source, pick, False, "", 0, ()))


class _Slice:
    def __init__(self, project: Project, deadline: float) -> None:
        self._project = project
        self._deadline = deadline
        self._pending: deque[Reached] = deque()
        self._seen: set[tuple[int, Pick, bool]] = set()

    def go(self, first: Reached) -> Iterator[Reached]:
        self._pending.append(first)
        left = MOST
        while self._pending and left > 0 and time.monotonic() < self._deadline:
            left -= 1
            item = self._pending.popleft()
            key = (id(item.node), item.pick, item.whole)
            if key in self._seen or item.depth > DEPTH:
                continue
            self._seen.add(key)
            narrow = self._narrow(item)
            yield narrow
            self._parts(narrow)

    def _add(self, binding: Binding, item: Reached, rest: Pick, calls: Calls | None = None) -> None:
        self._pending.append(Reached(
            binding.value, binding.source, (*binding.pick, *rest), item.whole, _how(binding), item.depth + 1,
            item.calls if calls is None else calls,
        ))

    # -- inside an expression ---------------------------------------------------------------------------------------

    def _narrow(self, item: Reached) -> Reached:
        """`item` at the part of its expression that its pick means, as far as that stands there."""
        node, pick = item.node, item.pick
        while pick:
            if isinstance(node, (ast.Tuple, ast.List)) and isinstance(pick[0], int) and pick[0] < len(node.elts):
                node = node.elts[pick[0]]
            elif isinstance(node, ast.Dict) and (found := _value_of(node, pick[0])) is not None:
                node = found
            elif isinstance(node, ast.Call) and (found := self._field(node, pick[0])) is not None:
                node = found
            else:
                break
            pick = pick[1:]
        return item._replace(node=node, pick=pick)

    def _field(self, node: ast.Call, which: int | str) -> ast.expr | None:
        """What a record, or a data set of tensors, was constructed with at a place or under a name."""
        known = self._project.classes.get(called(node))
        if known is None:
            return node.args[which] if called(node) == "TensorDataset" and isinstance(which, int) and which < len(node.args) else None
        marks = [*known[1].bases, *known[1].decorator_list]
        if not any(part in _RECORDS for mark in marks for part in _names(mark)):
            return None
        fields = [line.target.id for line in known[1].body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)]
        told = {k.arg: k.value for k in node.keywords} | dict(zip(fields, node.args, strict=False))
        return told.get(fields[which] if isinstance(which, int) and which < len(fields) else str(which))

    def _parts(self, item: Reached) -> None:
        """Queue what the parts of the expression come from."""
        node, pick = item.node, item.pick
        if isinstance(node, ast.Name):
            self._name(item, node)
        elif isinstance(node, ast.Attribute):
            self._attribute(item, node)
        elif isinstance(node, ast.Call):
            self._call(item, node)
        elif isinstance(node, ast.Subscript):
            self._subscript(item, node)
        elif isinstance(node, _COMPREHENSIONS):
            self._comprehension(item, node)
        elif isinstance(node, (ast.Starred, ast.Await)):
            self._inner(item, node.value, pick)
        elif isinstance(node, (ast.IfExp, ast.BoolOp)):
            for part in (node.body, node.orelse) if isinstance(node, ast.IfExp) else node.values:
                self._inner(item, part, pick)
        elif not isinstance(node, (ast.Constant, ast.Lambda)):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._inner(item, child)

    def _inner(self, item: Reached, node: ast.expr, pick: Pick = (), *, whole: bool | None = None) -> None:
        """A part of an expression: looked through at once, it is no step back."""
        inner = item._replace(node=node, pick=pick, whole=item.whole if whole is None else whole)
        key = (-id(node), pick, inner.whole)
        if key not in self._seen:
            self._seen.add(key)
            self._parts(self._narrow(inner))

    def _subscript(self, item: Reached, node: ast.Subscript) -> None:
        index = node.slice
        if isinstance(index, ast.Constant) and isinstance(index.value, (str, int)):
            self._inner(item, node.value, (index.value, *item.pick))
            return
        cut = any(isinstance(part, ast.Name) for part in ast.walk(index))
        self._inner(item, node.value, whole=item.whole or cut)
        if item.how == "":  # what an operation looks up may be at fault as well
            self._inner(item, index)

    def _comprehension(self, item: Reached, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        rest = item.pick[1:]
        inner = item.pick[0] if item.pick else EACH
        targets = {name for part in node.generators for name in _names(part.target)}
        looped = isinstance(node.elt, ast.Subscript) and isinstance(node.elt.value, ast.Name) and node.elt.value.id in targets
        if inner != EACH and looped:  # `(part[rows] for part in parts)`: item k is made of item k
            self._inner(item, node.generators[0].iter, (inner, *rest), whole=True)
            return
        self._inner(item, node.elt, rest)
        for part in node.generators:
            for test in part.ifs:
                self._filter(item, test)

    def _filter(self, item: Reached, test: ast.expr) -> None:
        functions = self._called(item, test) if isinstance(test, ast.Call) else []
        for source, function in functions:
            for value in results(function):
                self._pending.append(Reached(value, source, (), item.whole, "filter", item.depth + 1, item.calls))
        if not functions:
            self._pending.append(item._replace(node=test, pick=(), how="filter", depth=item.depth + 1))

    # -- names ------------------------------------------------------------------------------------------------------

    def _name(self, item: Reached, node: ast.Name) -> None:
        for part in item.source.above(node):
            if isinstance(part, (*_COMPREHENSIONS, ast.DictComp)):
                for generator in part.generators:
                    place = place_of(generator.target, node.id, (EACH,))
                    if place is not None:
                        self._add(Binding(generator.iter, item.source, place, how="loop"), item, item.pick)
                        return
        for scope in item.source.scopes(node):
            found = item.source.bound(scope).get(node.id, [])
            last = in_force(found, node, item.source)
            for binding in last:
                self._add(binding, item, item.pick)
            if any(one.anew for one in last):
                return
            if isinstance(scope, Function) and node.id in parameters(scope):
                self._parameter(item, scope, node.id)
                return
        if node.id not in self._project.functions and node.id not in self._project.classes:
            others = [s for s in self._project.sources.values() if s is not item.source and node.id in s.bound(s.tree)]
            for source in others[:1]:
                self._add(source.bound(source.tree)[node.id][-1], item, item.pick)

    def _parameter(self, item: Reached, function: Function, name: str) -> None:
        known = next((call for of, call in reversed(item.calls) if of is function), None)
        if known is not None:
            self._argument(item, function, name, known)
            return
        for call in self._callers(item.source, function):
            self._argument(item, function, name, call)

    def _argument(self, item: Reached, function: Function, name: str, call: Call) -> None:
        """What `call` gives the parameter `name`; its default where the call gives nothing."""
        node = call.node
        pick: Pick = item.pick
        value: ast.expr | None = next((k.value for k in node.keywords if k.arg == name), None)
        how = "argument"
        if value is None:
            names = positional(function)
            place = names.index(name) if name in names else len(names)
            for position, argument in enumerate(node.args):
                if isinstance(argument, ast.Starred):
                    value, pick = argument.value, (max(0, place - position), *pick)
                    break
                if position == place:
                    value = argument
                    break
        if value is None:
            value, how = default(function, name), "default"
            if value is not None:
                self._add(Binding(value, item.source, how=how), item, item.pick)
            return
        self._add(Binding(value, call.source, how=how), item, pick, call.calls)

    def _callers(self, source: Source, function: Function) -> list[Call]:
        if isinstance(function, ast.Lambda):
            return []
        owner, name = source.class_of(function), function.name
        names = {name}
        if owner and name == "__init__":
            names = {one for one in self._project.family(owner) if one == owner or not self._project.methods(one, "__init__")
                     or (self._project.classes[one][0].class_of(function) != one)}
        elif owner and name in ("forward", "__call__", "__getitem__"):
            names = self._instances(owner)
        found = [Call(inner, s, ()) for one in sorted(names) for s, inner in self._project.calls.get(one, ())]
        if owner and name == "__init__":
            found += [Call(inner, s, ()) for s, inner in self._project.calls.get("__init__", ())
                      if s.class_of(inner) in self._project.family(owner) and s.class_of(inner) != owner]
        return [one for one in found if not any(part is function for part in one.source.above(one.node))][:SEVERAL]

    def _instances(self, owner: str) -> set[str]:
        """Names and attributes that hold an object of class `owner`, and the parameters it is handed to."""
        family = self._project.family(owner)
        found: set[str] = set()
        for one in family:
            for source, node in self._project.calls.get(one, ()):
                statement = source.statement(node)
                if isinstance(statement, ast.Assign):
                    found |= {part for target in statement.targets for part in _ends(target)}
        for source in self._project.sources.values():
            for call in ast.walk(source.tree):
                if isinstance(call, ast.Call) and called(call) in self._project.functions:
                    for place, argument in enumerate(call.args):
                        held = {called(argument)} if isinstance(argument, ast.Call) else set(_ends(argument))
                        if (held & family) or (held & found):
                            for _, function in self._project.functions[called(call)]:
                                names = positional(function)
                                found |= set(names[place : place + 1])
        return found

    # -- attributes and calls -----------------------------------------------------------------------------------------

    def _attribute(self, item: Reached, node: ast.Attribute) -> None:
        found = self._project.attributes.get(node.attr, [])
        own = item.source.class_of(node) if isinstance(node.value, ast.Name) and node.value.id == "self" else ""
        if own:
            family = self._project.family(own)
            found = [one for one in found if one.owner in family]
        told = [value for name in {one.owner for one in found if one.how == "default"}
                for s, call in self._project.calls.get(name, ()) for k in call.keywords
                if k.arg == node.attr and (value := Binding(k.value, s, how="argument"))]
        last = found[-1:] if found and found[-1].how in ("default", "option") else latest_first(found, node)
        for binding in (told or last)[:SEVERAL]:
            self._add(binding, item, item.pick)
        if not found:
            self._hyperparameter(item, node)
            self._inner(item, node.value, (node.attr, *item.pick))

    def _hyperparameter(self, item: Reached, node: ast.Attribute) -> None:
        """`self.hparams.lr`, which nothing sets: what the constructor was given under the name."""
        owner = item.source.class_of(node)
        for source, function in self._project.methods(owner, "__init__") if owner and root(node) == "self" else ():
            if node.attr in parameters(function):
                self._parameter(item._replace(source=source), function, node.attr)

    def _call(self, item: Reached, node: ast.Call) -> None:
        name, pick = called(node), item.pick
        functions = self._called(item, node)
        for source, function in functions:
            calls = (*item.calls, (function, Call(node, item.source, item.calls)))
            generates = any(isinstance(one, (ast.Yield, ast.YieldFrom)) for one in ast.walk(function))
            for value in results(function):
                rest = pick[1:] if generates and pick else pick
                self._pending.append(Reached(value, source, rest, item.whole, "return", item.depth + 1, calls))
        if functions:
            return
        known = self._project.classes.get(name)
        if known is not None and self._items(item, name, node):
            return
        first = node.args[0] if node.args else next((k.value for k in node.keywords if k.arg in ("dataset", "iterable")), None)
        each = bool(pick) and pick[0] == EACH
        if name == "enumerate" and first is not None and each and len(pick) > 1:
            if pick[1] == 1:
                self._inner(item, first, (EACH, *pick[2:]))
        elif name == "zip" and each and len(pick) > 1 and isinstance(pick[1], int) and pick[1] < len(node.args):
            self._inner(item, node.args[pick[1]], (EACH, *pick[2:]))
        elif name == "TensorDataset" and each and len(pick) > 1 and isinstance(pick[1], int) and pick[1] < len(node.args):
            self._inner(item, node.args[pick[1]], whole=True)
        elif name in _WRAPPERS and first is not None:
            pick = pick[1:] if name == "random_split" and pick and pick[0] != EACH else pick
            self._inner(item, first, pick if name != "next" else (EACH, *pick), whole=item.whole or name == "DataLoader")
        else:
            self._open(item, node, whole=item.whole or (each and name in _LOADERS))

    def _open(self, item: Reached, node: ast.Call, *, whole: bool) -> None:
        """A call of somebody else's: its value comes from everything it is given."""
        if isinstance(node.func, ast.Attribute):
            self._inner(item, node.func.value, whole=whole)
        for argument in (*node.args, *(k.value for k in node.keywords)):
            self._inner(item, argument, whole=whole)

    def _called(self, item: Reached, node: ast.Call) -> list[tuple[Source, Function]]:
        """The user's functions that `node` may call."""
        function, name = node.func, called(node)
        known = self._project.functions.get(name, [])
        if isinstance(function, ast.Name):
            return [one for one in known if not one[0].class_of(one[1])][:SEVERAL]
        if not isinstance(function, ast.Attribute) or not known:
            return []
        of = function.value
        if isinstance(of, ast.Name) and of.id in ("self", "cls"):
            return self._project.methods(item.source.class_of(node), name)[:SEVERAL]
        if isinstance(of, ast.Name) and not known[0][0].class_of(known[0][1]):
            return known[:1]  # `module.function(...)`
        return [one for one in known if one[0].class_of(one[1])][:SEVERAL] if name not in PLAIN else []

    def _items(self, item: Reached, name: str, node: ast.Call) -> bool:
        """What a data set or an iterable of the user's gives. **Returns** True if that was asked for and is known."""
        if not item.pick or item.pick[0] != EACH:
            return False
        for method in ("__getitem__", "__iter__"):
            found = self._project.methods(name, method)
            for source, function in found:
                for value in results(function):
                    self._pending.append(
                        Reached(value, source, item.pick[1:], item.whole, "item", item.depth + 1, item.calls))
            if found:
                return True
        return False


def _how(binding: Binding) -> str:
    return "written" if binding.how == "assigned" and not binding.anew else binding.how


def _value_of(node: ast.Dict, key: int | str) -> ast.expr | None:
    pairs = zip(node.keys, node.values, strict=True)
    return next((value for name, value in pairs if isinstance(name, ast.Constant) and name.value == key), None)


def _names(node: ast.AST) -> set[str]:
    return {part.id if isinstance(part, ast.Name) else part.attr for part in ast.walk(node) if isinstance(part, (ast.Name, ast.Attribute))}


def _ends(node: ast.expr) -> Iterator[str]:
    """Last names of the single targets in `node`."""
    if isinstance(node, (ast.Tuple, ast.List)):
        for part in node.elts:
            yield from _ends(part)
    elif isinstance(node, (ast.Name, ast.Attribute)):
        yield last_name(node)
