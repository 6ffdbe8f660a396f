"""Looks up, in the text of the user's source, the lines that made what a located failure was given.

Asked once for an incident, within `SECONDS`. What the slices begin with: the operands of the failing operation and of the
activations and losses a survey saw, the tensors of the batch, the loop that takes the steps, the rate and the parameters of
each optimizer, the weights of a loss and states that were saved.
"""

from __future__ import annotations

import ast
import linecache
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from stayfinite.records.incident import Case
from stayfinite.records.location import Location
from stayfinite.records.numbers import Number, to_float
from stayfinite.records.survey import Making, Role, Subject, optimizer_name
from stayfinite.rewrite.births.roles import roles
from stayfinite.rewrite.births.sources import Pick, Project, Source, bindings_of, called
from stayfinite.rewrite.births.statements import last_name, root
from stayfinite.rewrite.births.tracing_back import PLAIN, Reached, trace_back
from stayfinite.rewrite.project import cell_names, is_user_file

SECONDS = 0.5
"""For all slices of an incident; a slice takes milliseconds."""
MOST = 160
"""Makings of one case."""
EACH = 3
"""Lines of one role that are kept of one slice: the nearest."""
FAR = 12
"""Steps back that a slice is followed to."""
_DRAWS = frozenset({"normal_", "uniform_", "fill_", "trunc_normal_"})
_NEUTRAL = frozenset({"zeros_", "ones_", "eye_", "dirac_"})
"""Initialisers that are seldom too large."""


def makings(case: Case, frame: FrameType | None, relative: Callable[[str], str]) -> tuple[Making, ...]:
    """The makings of `case`. `frame`: where the training loop runs, if that is known."""
    paths = list(_paths(case, frame, relative))
    search = _Search(Project(paths), {relative(path): path for path in paths}, relative, time.monotonic() + SECONDS)
    search.operands(case)
    search.weights(case)
    search.batch(case, frame)
    search.rates(case, frame)
    search.saved(case)
    search.state(case)
    search.starts()
    return tuple(search.found[:MOST])


def _paths(case: Case, frame: FrameType | None, relative: Callable[[str], str]) -> Iterator[str]:
    """The user's files, those of the failure and of the loop first."""
    modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    every = [path for path in modules if isinstance(path, str) and path.endswith(".py") and is_user_file(path)]
    every += [path for path in cell_names if path in linecache.cache]
    here = frame.f_code.co_filename if frame is not None else None
    near = {place.file for place in (case.origin.location, *(call.location for call in case.trace.calls))} if case.origin else set()
    if here is not None:
        yield here
    yield from sorted(every, key=lambda path: relative(path) not in near)


class _Search:
    def __init__(self, project: Project, paths: dict[str, str], relative: Callable[[str], str], deadline: float) -> None:
        self.found: list[Making] = []
        self._project = project
        self._paths = paths
        self._relative = relative
        self._deadline = deadline
        self._told: set[tuple[str, str, str, int]] = set()

    # -- what is begun with -------------------------------------------------------------------------------------------

    def operands(self, case: Case) -> None:
        """Of the operation that failed, of the units a survey saw, and of the losses."""
        places = [case.origin.location] if case.origin is not None else []
        if case.survey is not None:
            places += [units.location for units in case.survey.units[-3:]]
            places += [loss.location for loss in case.survey.losses[-2:]]
        for place in dict.fromkeys(places):
            for source, node in self._at(place):
                for part in _operands(node):
                    self._slice("operand", ast.unparse(part), source, part)
        kinds = {loss.made_by for loss in case.survey.losses} if case.survey is not None else set()
        for kind in sorted(kinds - {""}):  # a name in a table of layers is no way back that can be followed
            built = [one for name, calls in self._project.calls.items() if name[:1].isupper() and name.lower() == kind.replace("_", "")
                     for one in calls]
            for source, call in built if len(built) == 1 else ():
                self._note("operand", kind, "layer", source, call, FAR)

    def weights(self, case: Case) -> None:
        """Of the loss at the origin: what it was constructed with, or called with, under a name that says so."""
        for source, node in self._at(case.origin.location) if case.origin is not None else ():
            for call in (one for one in ast.walk(node) if isinstance(one, ast.Call)):
                self._weights_of(source, call)
                for reached in trace_back(self._project, source, call.func, self._deadline):
                    if isinstance(reached.node, ast.Call) and reached.depth <= 3:
                        self._weights_of(reached.source, reached.node)

    def _weights_of(self, source: Source, call: ast.Call) -> None:
        for given in call.keywords:
            if given.arg in ("weight", "pos_weight", "class_weight", "alpha", "sample_weight"):
                self._slice("weight", given.arg, source, given.value)

    def batch(self, case: Case, frame: FrameType | None) -> None:
        """The loop round the running line, and the tensors of the step under the names they have there."""
        source = self._project.sources.get(frame.f_code.co_filename) if frame is not None else None
        if source is None or frame is None:
            return
        inside = [node for node in ast.walk(source.tree)
                  if isinstance(node, (ast.For, ast.AsyncFor)) and node.lineno <= frame.f_lineno <= (node.end_lineno or 0)]
        for loop in sorted(inside, key=lambda node: -node.lineno):
            self._slice("loop", "", source, loop.iter, loop=True)
        if not inside:
            return
        names = dict.fromkeys(_spelled(stats.name) for stats in (*case.trace.model_inputs, *case.batch[:8]) if stats.name)
        body = max(inside, key=lambda node: node.lineno).body
        for name in names:
            node = next((part for line in body for part in ast.walk(line)
                         if isinstance(part, (ast.Name, ast.Subscript, ast.Attribute)) and isinstance(part.ctx, ast.Load)
                         and ast.unparse(part) == name), None)
            if node is not None:
                self._slice("batch", name, source, node)

    def rates(self, case: Case, frame: FrameType | None) -> None:
        """The rate of each optimizer, or of an update by hand, and other values of the name its parameters were taken from."""
        for number, info in enumerate(case.configuration.optimizers):
            for source, node in self._at(info.location):
                calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
                given = [found for one in calls if (found := _rate_of(one, _highest(info.rates))) is not None]
                for rate, pick in given[:1]:
                    self._slice("rate", optimizer_name(number), source, rate, pick)
                for one in (part for part in ast.walk(node) if isinstance(part, ast.Call) and called(part) == info.kind):
                    self._rebound(info.kind, source, one)
        if case.configuration.optimizers or frame is None:
            return
        for source in self._project.sources.values():
            for node in ast.walk(source.tree):
                for part in _factors(node):
                    self._slice("rate", "by hand", source, part)

    def _rebound(self, kind: str, source: Source, call: ast.Call) -> None:
        """Lines that give the model another value than the one the optimizer's parameters were taken from."""
        for given in call.args[:1]:
            methods = [part.func for part in ast.walk(given) if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)]
            for owner in (method.value for method in methods):
                if isinstance(owner, ast.Attribute):
                    family = self._project.family(source.class_of(owner))
                    others = [one for one in self._project.attributes.get(owner.attr, ()) if one.owner in family and one.anew]
                    later = [one for one in others if not one.source.function_name(one.value).endswith("__init__")]
                elif isinstance(owner, ast.Name):
                    scope = next(source.scopes(owner))
                    later = [one for one in source.bound(scope).get(owner.id, ()) if one.anew and one.value.lineno > call.lineno]
                else:
                    continue
                for one in later:
                    self._note("parameters", kind, "rebind", one.source, one.value, 1)

    def saved(self, case: Case) -> None:
        """What was saved, where the script loads a state."""
        if case.configuration.checkpoint is None:
            return
        for source, node in self._project.calls.get("save", ()):
            if isinstance(node.func, ast.Attribute) and root(node.func) in ("torch", "t", "th") and node.args:
                self._slice("saved", ast.unparse(node.args[0])[:60], source, node.args[0])

    def state(self, case: Case) -> None:
        """What the script itself writes into the state of an optimizer from outside."""
        if case.origin is None or case.origin.op != "moment":
            return
        for source in self._project.sources.values():
            for node in ast.walk(source.tree):
                for target, binding in bindings_of(node, source):
                    attributes = {part.attr for part in ast.walk(target) if isinstance(part, ast.Attribute)}
                    if root(target) != "self" and "state" in attributes:
                        self._note("state", ast.unparse(target), "write", source, binding.value, 0)
                        self._slice("state", ast.unparse(target), source, binding.value)

    def starts(self) -> None:
        """Lines that draw or fill in the numbers that modules begin with, where they name what they fill."""
        for name, calls in self._project.calls.items():
            if name.endswith("_") and not name.endswith("__"):
                for source, node in calls:
                    if isinstance(node.func, ast.Attribute) and node.args and last_name(node.func.value) == "init" and name not in _NEUTRAL:
                        self._note("start", ast.unparse(node.args[0]), "draw", source, node, 0)
                    elif isinstance(node.func, ast.Attribute) and name in _DRAWS and _is_weight(node.func.value):
                        self._note("start", ast.unparse(node.func.value).removesuffix(".data"), "draw", source, node, 0)
        for source, node in self._project.calls.get("Parameter", ()):
            statement = source.statement(node)
            for target in statement.targets[:1] if isinstance(statement, ast.Assign) else ():
                self._slice("start", ast.unparse(target), source, node)

    # -- slices -------------------------------------------------------------------------------------------------------

    def _slice(self, of: Subject, name: str, source: Source, node: ast.expr, pick: Pick = (), *, loop: bool = False) -> None:
        kept: Counter[tuple[Role, str]] = Counter()
        for reached in trace_back(self._project, source, node, self._deadline, pick):
            if reached.depth > FAR:
                return
            if _is_overruled(reached):
                continue
            for by, part in roles(reached, self._is_container, self._is_function):
                sort = (by, called(part) if by == "layer" and isinstance(part, ast.Call) else "")
                if kept[sort] < EACH and (by == "loader" or not loop):
                    kept[sort] += self._note(of, name, by, reached.source, part, reached.depth)

    def _is_container(self, name: str) -> bool:
        """True for a data set class of the user's."""
        return name in self._project.classes and bool(self._project.methods(name, "__getitem__") or self._project.methods(name, "__iter__"))

    def _is_function(self, name: str) -> bool:
        """True for a function or method of the user's, unless a library's objects have one of that name."""
        known = self._project.functions.get(name, ())
        return any(not source.class_of(function) or name not in PLAIN for source, function in known)

    def _note(self, of: Subject, name: str, by: Role, source: Source, node: ast.expr, far: int) -> bool:
        key = (of, name, by, id(node))
        if key in self._told:
            return False
        self._told.add(key)
        place = Location(
            file=self._relative(source.path), line=node.lineno, column=node.col_offset, end_line=node.end_lineno or -1,
            end_column=node.end_col_offset or -1, function=source.function_name(node),
            code=linecache.getline(source.path, node.lineno).strip(), expression=_short(ast.unparse(node)),
        )
        self.found.append(Making(of=of, name=name, by=by, location=place, far=far))
        return True

    def _at(self, place: Location) -> Iterator[tuple[Source, ast.AST]]:
        """The expression at a place: by its columns, else the statement on its line."""
        source = self._project.sources.get(self._paths.get(place.file, ""))
        if source is None:
            return
        on_line = [node for node in ast.walk(source.tree) if isinstance(node, ast.expr) and node.lineno == place.line]
        exact = [node for node in on_line if (node.col_offset, node.end_col_offset) == (place.column, place.end_column)]
        if exact:
            yield source, exact[0]
            return
        statements = (node for node in ast.walk(source.tree) if isinstance(node, ast.stmt))
        inside = [node for node in statements if node.lineno <= place.line <= (node.end_lineno or 0)]
        if inside:
            statement = max(inside, key=lambda node: node.lineno)
            yield source, statement if not isinstance(statement, (ast.For, ast.With, ast.If, ast.While)) else _head(statement)


def _is_weight(node: ast.expr) -> bool:
    """True for ``layer.weight``, ``m.weight.data``, ``p.data``, which no batch is called."""
    return isinstance(node, ast.Attribute) and (node.attr == "data" or "weight" in node.attr)


def _head(node: ast.For | ast.With | ast.If | ast.While) -> ast.AST:
    return node.iter if isinstance(node, ast.For) else node.items[0].context_expr if isinstance(node, ast.With) else node.test


def _operands(node: ast.AST) -> Iterator[ast.expr]:
    """What an operation works on: the names, attributes and items in its text, the longest chains of them, without what is
    only called."""
    if isinstance(node, ast.Call):
        for argument in (*node.args, *(k.value for k in node.keywords)):
            yield from _operands(argument)
        owner = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        yield from [node.func] if isinstance(owner, ast.Name) and (owner is node.func or owner.id == "self") else _operands(owner)
    elif isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
        yield node
    elif not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, (ast.expr_context, ast.operator)) and not _is_target(node, child):
                yield from _operands(child)


def _spelled(text: str) -> str:
    """An expression as `ast` spells it, whatever its quotes and spaces."""
    try:
        return ast.unparse(ast.parse(text, mode="eval"))
    except (SyntaxError, ValueError):
        return text


def _is_target(node: ast.AST, child: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and child in node.targets


def _highest(rates: Sequence[Number]) -> int:
    """The parameter group with the highest rate, the first of several."""
    known = [abs(to_float(rate)) for rate in rates]
    return known.index(max(known)) if known else 0


def _rate_of(call: ast.Call, group: int) -> tuple[ast.expr, Pick] | None:
    """What a constructor of an optimizer is given as the rate of a parameter group: in the group, by name, by place, or among
    starred keywords."""
    groups = call.args[0].elts if call.args and isinstance(call.args[0], (ast.List, ast.Tuple)) else []
    mapping = groups[group] if group < len(groups) else None
    if isinstance(mapping, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in mapping.keys]
        if "lr" in keys:
            return mapping.values[keys.index("lr")], ()
    named = next((k.value for k in call.keywords if k.arg in ("lr", "learning_rate")), None)
    if named is not None:
        return named, ()
    if len(call.args) > 1 and called(call)[:1].isupper():
        return call.args[1], ()
    starred = next((k.value for k in call.keywords if k.arg is None), None)
    return (starred, ("lr",)) if starred is not None else None


def _factors(node: ast.AST) -> list[ast.expr]:
    """What multiplies a step that is taken by hand: in ``p -= lr * g``, ``p.sub_(lr * g)``, ``p.add_(g, alpha=-lr)`` and
    ``w = w - lr * g``; what names a gradient is none."""
    step: ast.AST | None = None
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Sub):
        step = node.value
    elif isinstance(node, ast.Call) and called(node) in ("sub_", "add_", "sub", "add", "_foreach_add_"):
        step = next((k.value for k in node.keywords if k.arg == "alpha"), None)
        step = step if step is not None else node.args[0] if called(node) == "sub_" and node.args else None
        if isinstance(step, ast.UnaryOp):
            return list(_operands(step)) or [step]
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Sub):
        left = ast.unparse(node.value.left)
        step = node.value.right if any(ast.unparse(target) == left for target in node.targets) else None
    if not isinstance(step, ast.BinOp) or not isinstance(step.op, (ast.Mult, ast.Div)):
        return []
    sides = [part for part in _multiplied(step) if "grad" not in ast.unparse(part)]
    return [part for side in sides for part in ([side] if isinstance(side, ast.Constant) else _operands(side))]


def _multiplied(node: ast.expr) -> list[ast.expr]:
    """What products and quotients are made of."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        return [*_multiplied(node.left), *_multiplied(node.right)]
    return [node]


def _is_overruled(reached: Reached) -> bool:
    """True for the default of an option that the command line gives another value."""
    if reached.how != "option":
        return False
    call = next((one for one in reached.source.above(reached.node) if isinstance(one, ast.Call)), None)
    words = {one.value for one in call.args if isinstance(one, ast.Constant)} if call is not None else set()
    return any(argument.partition("=")[0] in words for argument in sys.argv[1:])


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
