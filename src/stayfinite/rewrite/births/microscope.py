"""Watches the user's lines while they run, and remembers which of them made or passed on a bad value.

After each line of the user's own code the names, attributes and items it assigned are looked at, and what a function
returned. A line with a bad result and no bad operand is a birth. Where an operand was bad already, the line that had made
that one is its parent, found by memory: a view, a slice and an argument are the memory they look into.
"""

from __future__ import annotations

import ast
import copy
import linecache
import math
import sys
import time
from collections.abc import Callable, Mapping
from types import CodeType, FrameType, TracebackType
from typing import Any

from stayfinite.records.location import Location
from stayfinite.rewrite.births.formulas import Formula, Made
from stayfinite.rewrite.births.sight import is_array, is_bad, is_narrow, memory_of
from stayfinite.rewrite.births.statements import NotSimple, Statement, chains, evaluate, statements_of
from stayfinite.rewrite.project import is_user_file

MOST_EVENTS = 20_000
PER_LINE = 4
"""Times one line is noted for one target; a loop that hands bad values on is told by its first rounds."""
_PARTS = frozenset({"iloc", "loc", "values", "T", "at", "iat"})
"""Attributes of a table or array that give the same values."""
_RESERVE = frozenset({"empty", "empty_like", "new_empty"})
_COPIED = 2**20
"""Bytes of an array that is kept as it was before a line changes it in place."""

Trace = Callable[[FrameType, str, Any], Any]


class OutOfTime(BaseException):
    """The deadline of a microscope passed. Derives from BaseException: the user's handlers must not swallow it."""


class Event:
    """A line that ended with a bad value in `target` (source text; ``"return"`` for a function's result).

    `parents`: events that had made what it read; `foreign`: source of bad operands nobody was seen to make, and `held` the
    source and value of what these were taken from. `made`: the
    operation of its formula that did it; `wrapped`: an integer operation in it that left its range. `owner`: class of the
    object, for a target ``self.x``.
    """

    __slots__ = ("filename", "foreign", "function", "held", "line", "made", "node", "owner", "parents", "target", "value", "wrapped")

    def __init__(self, frame: FrameType, line: int, node: ast.AST | None, target: str, value: Any) -> None:
        self.filename, self.function, self.line = frame.f_code.co_filename, frame.f_code.co_qualname, line
        self.node, self.target, self.value = node, target, value
        self.parents: list[Event] = []
        self.foreign: list[str] = []
        self.held: list[tuple[str, Any]] = []
        self.made: Made | None = None
        self.wrapped: Made | None = None
        self.owner = ""

    @property
    def is_constant(self) -> bool:
        """A number that the source gives a name: ``FILL = 1e20``."""
        plain = isinstance(self.value, (int, float)) or getattr(self.value, "shape", None) == ()
        named = self.target.isidentifier() and self.target != "return"
        return plain and named and not self.parents and not self.foreign and self.made is None

    @property
    def reserves(self) -> bool:
        """True if the line only took memory, which may hold anything until it is written."""
        value = getattr(self.node, "value", None)
        function = value.func if isinstance(value, ast.Call) else None
        return getattr(function, "attr", getattr(function, "id", "")) in _RESERVE

    def location(self, relative: Callable[[str], str]) -> Location:
        """The place as a record; in a statement of several lines, that of the operation that did it."""
        node = self.node
        inner = self.made.line if self.made is not None else 0
        if node is not None and getattr(node, "lineno", 0) < inner <= (getattr(node, "end_lineno", 0) or 0):
            code = linecache.getline(self.filename, inner).strip()
            return Location(file=relative(self.filename), line=inner, function=self.function, code=code)
        at = (getattr(node, "col_offset", -1), getattr(node, "end_lineno", -1) or -1, getattr(node, "end_col_offset", -1) or -1)
        line = getattr(node, "lineno", self.line)
        if isinstance(node, (ast.For, ast.AsyncFor, ast.With, ast.AsyncWith, ast.If, ast.While)):
            at = (-1, -1, -1)
        code = linecache.getline(self.filename, line).strip()
        return Location(file=relative(self.filename), line=line, column=at[0], end_line=at[1], end_column=at[2],
                        function=self.function, code=code)

    @property
    def says(self) -> str:
        """The operation, or the line."""
        if self.made is not None:
            return self.made.text
        values = getattr(self.node, "value", None)
        if isinstance(values, ast.expr):
            text = ast.unparse(values)
            return text if len(text) <= 80 else linecache.getline(self.filename, self.line).strip()
        return linecache.getline(self.filename, self.line).strip()


class Microscope:
    """Watches the thread that enters it. `limit`: finite values of at least this magnitude are bad as well;
    `deadline`: `time.monotonic()` at which `OutOfTime` is raised in the watched code."""

    def __init__(self, limit: float = math.inf, deadline: float = math.inf) -> None:
        self.limit = limit
        self.events: list[Event] = []
        self.wraps: list[Event] = []
        """Lines whose integer arithmetic left the range of its type: their results are finite."""
        self._deadline = deadline
        self._of: dict[tuple[str, int], list[Event]] = {}
        self._counts: dict[tuple[CodeType, int, str], int] = {}
        self._open: list[_Watch] = []
        self._user: dict[str, bool] = {}
        self._calls = 0
        self._before: Any = None
        self._busy = False

    def __enter__(self) -> Microscope:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        sys.settrace(self._before)
        self._open.clear()

    def of(self, value: object) -> list[Event]:
        """The events that made (the memory of) `value`, in the order they happened."""
        return self._of.get(memory_of(value), [])

    def _called(self, frame: FrameType, event: str, arg: Any) -> Trace | None:
        self._calls += 1
        if not self._calls % 256:
            self._check_time()
        filename = frame.f_code.co_filename  # code objects hash their whole content
        known = self._user.get(filename)
        if known is None:
            known = self._user[filename] = is_user_file(filename) and not filename.startswith("<")
        if not known:
            return None
        watch = _Watch(self, frame)
        self._open.append(watch)
        return watch

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise OutOfTime("the time for watching lines was spent")

    def caller_of(self, watch: _Watch) -> _Watch | None:
        """The watched frame below `watch`; closes it and what was left open above it."""
        while self._open:
            top = self._open.pop()
            if top is watch:
                return self._open[-1] if self._open else None
        return None

    def note(self, frame: FrameType, statement: Statement | None, target: str, value: Any, names: Mapping[str, Any],
             inner: list[Event]) -> Event | None:
        """A line ended with a bad `value`."""
        line = frame.f_lineno if statement is None else statement.node.lineno
        count = self._counts.get((frame.f_code, line, target), 0)
        if count >= PER_LINE or len(self.events) >= MOST_EVENTS:
            return None
        self._counts[frame.f_code, line, target] = count + 1
        event = Event(frame, line, statement.node if statement is not None else None, target, value)
        event.parents = list(inner)
        for chain in statement.reads if statement is not None else ():
            self._note_read(event, chain, names, frame.f_globals, statement)
        if not event.parents and not event.foreign and statement is not None:
            formula = Formula(names, frame.f_globals, self.limit)
            for expression in _expressions(statement):
                formula.look(expression)
            event.made, event.wrapped = formula.made, formula.wrapped
        self.events.append(event)
        self._of.setdefault(memory_of(value), []).append(event)
        return event

    def note_wrap(self, frame: FrameType, statement: Statement, target: str, value: Any, names: Mapping[str, Any]) -> None:
        """Look whether a line that computed whole numbers of few bits left their range."""
        count = self._counts.get((frame.f_code, -statement.node.lineno, target), 0)
        if count >= PER_LINE:
            return
        self._counts[frame.f_code, -statement.node.lineno, target] = count + 1
        formula = Formula(names, frame.f_globals)
        for expression in _expressions(statement):
            formula.look(expression)
        if formula.wrapped is not None:
            event = Event(frame, statement.node.lineno, statement.node, target, value)
            event.wrapped = formula.wrapped
            self.wraps.append(event)

    def _note_read(self, event: Event, chain: ast.expr, names: Mapping[str, Any], outer: Mapping[str, Any],
                   statement: Statement | None) -> None:
        if isinstance(chain, ast.Attribute) and chain.attr.lower() in ("nan", "inf", "infty", "infinity"):
            return  # `math.nan`: the line writes it itself
        try:
            value = evaluate(chain, names, outer)
        except NotSimple:
            return
        if not is_bad(value, self.limit) or callable(value):
            return
        if statement is not None and statement.in_place and value is event.value and not self.of(value):
            return  # it is what the line changed
        made, whole = self.of(value), chain
        while not made and isinstance(whole, (ast.Subscript, ast.Attribute)):  # a copied part of what was seen to be made
            if isinstance(whole, ast.Attribute) and whole.attr not in _PARTS:
                break
            whole = whole.value
            value = evaluate(whole, names, outer)
            made = self.of(value)
        made = [one for one in made if one is not event and one not in event.parents]
        event.parents += made
        if not event.parents:
            event.foreign.append(ast.unparse(chain))
            event.held.append((ast.unparse(whole), value))

    def roots(self, start: Event) -> list[Event]:
        """The births that `start` comes from, in the order they happened."""
        seen: set[int] = set()
        found: list[Event] = []
        waiting = [start]
        while waiting:
            event = waiting.pop()
            if id(event) in seen:
                continue
            seen.add(id(event))
            makers = [one for one in event.parents if not one.is_constant or isinstance(event.value, (int, float))]
            waiting += makers
            if not makers:  # what puts a constant into the data is the line to look at, and not its definition
                found.append(event)
        found = [one for one in found if not one.reserves] or found
        place = {id(event): at for at, event in enumerate(self.events)}
        return sorted(found, key=lambda one: place.get(id(one), -1))


def _expressions(statement: Statement) -> list[ast.expr]:
    node = statement.node
    if isinstance(node, ast.AugAssign):
        left = ast.copy_location(_loaded(node.target), node)
        return [ast.copy_location(ast.BinOp(left, node.op, node.value), node)]
    return list(statement.values)


def _loaded(target: ast.expr) -> ast.expr:
    expression = ast.parse(ast.unparse(target), mode="eval").body
    return expression


def _kept(frame: FrameType, statement: Statement) -> dict[str, Any] | None:
    """The names a line reads, where it is going to bind or change them."""
    if statement.rebinds:
        return dict(frame.f_locals)
    if isinstance(statement.node, ast.AugAssign) and isinstance(statement.node.target, ast.Name):
        name = statement.node.target.id
        value: Any = frame.f_locals.get(name)
        if isinstance(value, (int, float)) or (is_array(value) and getattr(value, "nbytes", 0) <= _COPIED):
            return {**frame.f_locals, name: value.clone() if hasattr(value, "clone") else copy.copy(value)}
    return None


def _new_in(value: Any, statement: Statement) -> Any:
    """What a line may have added to `value`: the rest of a list that grows was looked at before."""
    return value[-1:] if isinstance(statement.node, ast.Expr) and isinstance(value, list) else value


def _reads_narrow(statement: Statement, names: Mapping[str, Any], outer: Mapping[str, Any]) -> bool:
    """True if a line is given whole numbers of few bits, whatever comes of them: a mean over their products is no whole number."""
    for chain in statement.reads:
        try:
            if is_narrow(evaluate(chain, names, outer)):
                return True
        except NotSimple:
            continue
    return False


class _Watch:
    """One frame under the microscope."""

    __slots__ = ("_before", "_inner", "_own", "_pending", "_scope", "_statements")

    def __init__(self, scope: Microscope, frame: FrameType) -> None:
        self._scope = scope
        self._statements = statements_of(frame.f_code.co_filename)
        self._pending: Statement | None = None
        self._before: dict[str, Any] | None = None
        self._inner: list[Event] = []
        self._own = not frame.f_code.co_name.startswith("<") or frame.f_code.co_name == "<module>"

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            scope = self._scope
            scope._calls += 1
            if not scope._calls % 256:
                scope._check_time()
            if not self._own:
                return self
            statement = self._statements.get(frame.f_lineno)
            if statement is not self._pending:
                self._finish(frame)
                self._pending = statement
                self._before = _kept(frame, statement) if statement is not None else None
        elif event == "return":
            self._return(frame, arg)
        return self

    def _finish(self, frame: FrameType) -> None:
        statement, before, inner = self._pending, self._before, self._inner
        self._pending, self._before, self._inner = None, None, []
        if statement is None or not statement.targets:
            return
        names = frame.f_locals
        for target in statement.targets:
            found = self._target(target, statement, names, frame.f_globals)
            if found is None:
                continue
            if statement.computes and (is_narrow(found[1]) or _reads_narrow(statement, names, frame.f_globals)):
                self._scope.note_wrap(frame, statement, found[0], found[1], before if before is not None else names)
            if not is_bad(_new_in(found[1], statement), self._scope.limit):
                continue
            event = self._scope.note(frame, statement, found[0], found[1], before if before is not None else names, inner)
            if event is not None and isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                event.owner = type(names.get(target.value.id)).__name__
            if event is not None and isinstance(target, ast.Subscript):
                self._also(target, names, frame.f_globals, event)

    def _also(self, target: ast.Subscript, names: Mapping[str, Any], outer: Mapping[str, Any], event: Event) -> None:
        """What was put into a list or dict makes the whole of it bad."""
        try:
            whole = evaluate(target.value, names, outer)
        except NotSimple:
            return
        held = self._scope._of.setdefault(memory_of(whole), [])
        if event not in held:
            held.append(event)

    def _target(
        self, target: ast.expr, statement: Statement, names: Mapping[str, Any], outer: Mapping[str, Any]
    ) -> tuple[str, Any] | None:
        try:
            value = evaluate(target, names, outer)
        except NotSimple:
            if not isinstance(target, ast.Subscript):
                return None
            try:
                value = evaluate(target.value, names, outer)
            except NotSimple:
                return None
        return ast.unparse(target), value

    def _return(self, frame: FrameType, value: Any) -> None:
        pending, inner = self._pending, list(self._inner)
        self._finish(frame)
        caller = self._scope.caller_of(self)
        if pending is not None and isinstance(pending.node, ast.Return) and pending.computes:
            if is_narrow(value) or _reads_narrow(pending, frame.f_locals, frame.f_globals):
                self._scope.note_wrap(frame, pending, "return", value, frame.f_locals)
        if value is None or not is_bad(value, self._scope.limit):
            return
        known = self._scope.of(value)
        if known:
            given = known[-1:]
        elif self._own:
            returned = pending if pending is not None and isinstance(pending.node, (ast.Return, ast.Expr)) else None
            made = self._scope.note(frame, returned, "return", value, frame.f_locals, inner)
            given = [made] if made is not None else []
        else:
            given = self._nameless(frame, value, inner)
        if caller is not None:
            caller._inner += [one for one in given if one not in caller._inner]

    def _nameless(self, frame: FrameType, value: Any, inner: list[Event]) -> list[Event]:
        """A lambda's or comprehension's result: the statement it stands in is read with its own names."""
        statement = self._statements.get(frame.f_lineno)
        if frame.f_code.co_name != "<lambda>" or statement is None:
            return inner
        lambdas = [part for part in ast.walk(statement.node) if isinstance(part, ast.Lambda) and part.lineno <= frame.f_lineno]
        fitting = [one for one in lambdas if [a.arg for a in one.args.args] == list(frame.f_code.co_varnames[: frame.f_code.co_argcount])]
        body = fitting[-1].body if len(fitting) == 1 else None
        own = None
        if body is not None:
            node = ast.copy_location(ast.Expr(body), body)
            own = Statement(node, (), (body,), tuple(chains(body)))
        made = self._scope.note(frame, own, "return", value, frame.f_locals, inner)
        return [made] if made is not None else []
