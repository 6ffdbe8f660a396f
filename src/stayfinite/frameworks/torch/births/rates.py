"""Which line's formula gave an optimizer a rate that makes no sense.

A schedule's function is evaluated once more under a line trace, and only believed if it gives the rate again. A rate that
the script sets by hand (``group["lr"] = ...``) is looked for in the source, and its formula evaluated in the same way.
Only functions that write nothing but their own names are called again.
"""

from __future__ import annotations

import ast
import dis
import linecache
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from stayfinite.frameworks.torch.describe import frame_location
from stayfinite.records.location import Location
from stayfinite.rewrite.project import is_user_file
from stayfinite.rewrite.quiet import quiet

_WRITES = frozenset({"STORE_GLOBAL", "STORE_ATTR", "STORE_DEREF", "STORE_SUBSCR", "DELETE_GLOBAL", "DELETE_ATTR", "DELETE_SUBSCR"})
ASCENT = 10.0
"""Times the first rate from which on a rate is looked into."""


def is_odd(rate: float, first: float) -> bool:
    """True if `rate` makes no sense: not finite, negative, or far above the `first` one."""
    return not math.isfinite(rate) or rate < 0.0 or (first > 0.0 and rate > ASCENT * first)


def origin_of(
    rate: float, group: int, schedulers: list[Any], frame: FrameType | None, relative: Callable[[str], str]
) -> tuple[Location, str] | None:
    """The line whose formula made the `rate` of an optimizer's `group`, and how it did. `frame`: where the training loop
    runs."""
    for scheduler in schedulers:
        found = _of_scheduler(scheduler, group, rate, relative)
        if found is not None:
            return found
    return _by_hand(rate, frame, relative) if frame is not None else None


def _of_scheduler(scheduler: Any, group: int, rate: float, relative: Callable[[str], str]) -> tuple[Location, str] | None:
    lambdas = getattr(scheduler, "lr_lambdas", None)
    if isinstance(lambdas, list) and group < len(lambdas):
        count, base = scheduler.last_epoch, float(scheduler.base_lrs[group])
        # a step that asks for its rate first has moved on by one
        for at in (count, count - 1):
            watched = _again(lambdas[group], (at,), relative)
            if watched is not None and _same(_number(watched.value) * base, rate):
                return watched.place, f"the schedule gives {_shown(watched.value)} for step {at}"
    get = getattr(type(scheduler), "get_lr", None)
    if isinstance(get, FunctionType) and is_user_file(get.__code__.co_filename):
        watched = _again(MethodType(get, scheduler), (), relative)
        values = watched.value if watched is not None and isinstance(watched.value, (list, tuple)) else ()
        if watched is not None and group < len(values) and _same(_number(values[group]), rate):
            return watched.place, f"`get_lr` gives {_shown(values[group])} at step {scheduler.last_epoch}"
    return None


# -- set by hand -----------------------------------------------------------------------------------------------------


def _by_hand(rate: float, frame: FrameType, relative: Callable[[str], str]) -> tuple[Location, str] | None:
    names: dict[str, Any] = {**frame.f_globals, **frame.f_locals}
    stores = list(_stores(frame, names))
    for code, globals_, node, owner in stores:
        known = names if code is None or code is frame.f_code else {**globals_, "self": owner} if owner is not None else globals_
        if isinstance(node.value, ast.Constant):
            continue
        watched = _formula(node.value, code or frame.f_code, known, relative)
        if watched is not None and _same(_number(watched.value), rate):
            return watched.place, f"`{ast.unparse(node.value)}` gives {_shown(watched.value)}"
    if len(stores) == 1:
        code, _, node, _ = stores[0]
        return _at(code or frame.f_code, node, relative), f"`{ast.unparse(node)}` set the rate to {_shown(rate)}"
    return None


_Store = tuple[CodeType | None, Mapping[str, Any], ast.Assign, Any]


def _stores(frame: FrameType, names: Mapping[str, Any]) -> Iterator[_Store]:
    """Assignments to an item ``"lr"``: in the frame itself, in functions its names lead to, and in methods of objects they
    hold (with the object)."""
    seen: set[CodeType] = set()
    found: list[tuple[CodeType, Mapping[str, Any], Any]] = [(frame.f_code, frame.f_globals, None)]
    for value in list(names.values()):
        if isinstance(value, FunctionType):
            found.append((value.__code__, value.__globals__, None))
        elif not isinstance(value, type) and is_user_file(_file_of(type(value))):
            methods = [one for kind in type(value).__mro__ for one in vars(kind).values() if isinstance(one, FunctionType)]
            found += [(one.__code__, one.__globals__, value) for one in methods]
    for code, globals_, owner in found:
        if code in seen or not is_user_file(code.co_filename):
            continue
        seen.add(code)
        yield from ((code, globals_, node, owner) for node in _assignments(code))


def _file_of(kind: type) -> str:
    module = sys.modules.get(kind.__module__)
    return str(getattr(module, "__file__", None) or "<none>")


def _assignments(code: CodeType) -> Iterator[ast.Assign]:
    for node in ast.walk(_tree(code)):
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Subscript) and isinstance(t.slice, ast.Constant) and t.slice.value == "lr" for t in node.targets
        ):
            yield node


def _tree(code: CodeType) -> ast.AST:
    """The source of `code`: of a function, or of a module without its functions and classes."""
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return ast.Module([], [])
    if code.co_name == "<module>":
        own = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
        return ast.Module(own, [])
    for node in ast.walk(tree):
        first = min((one.lineno for one in getattr(node, "decorator_list", ())), default=getattr(node, "lineno", 0))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and first == code.co_firstlineno and node.name == code.co_name:
            return node
    return ast.Module([], [])


def _formula(value: ast.expr, code: CodeType, names: Mapping[str, Any], relative: Callable[[str], str]) -> _Watched | None:
    """`value` evaluated over `names`; a plain name stands for what the function last assigned to it."""
    if isinstance(value, ast.Name) and value.id not in names:
        made = [node for node in ast.walk(_tree(code)) if isinstance(node, ast.Assign)
                and any(isinstance(t, ast.Name) and t.id == value.id for t in node.targets)]
        if not made:
            return None
        value = made[-1].value
    calls = [node for node in ast.walk(value) if isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield))]
    if calls or not all(_is_plain(node, names) for node in ast.walk(value) if isinstance(node, ast.Call)):
        return None
    compiled = compile(ast.fix_missing_locations(ast.Expression(value)), code.co_filename, "eval")
    scope = dict(names)
    watched = _Watched(relative, _at(code, value, relative))
    watched.skipped = compiled
    with quiet():
        try:
            watched.run(lambda: eval(compiled, scope))
        except Exception:
            return None
    return watched


def _is_plain(node: ast.Call, names: Mapping[str, Any]) -> bool:
    """True if what `node` calls may be called again: a function of Python's, or a user's that writes only its own names."""
    try:
        called = eval(compile(ast.Expression(node.func), "<formula>", "eval"), dict(names))
    except Exception:
        return False
    called = getattr(called, "__func__", called)
    if isinstance(called, FunctionType):
        return _writes_nothing(called.__code__) if is_user_file(called.__code__.co_filename) else True
    return not isinstance(called, type) or called in (int, float, max, min, abs)


def _writes_nothing(code: CodeType) -> bool:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return all(one.opname not in _WRITES for one in dis.get_instructions(code)) and all(map(_writes_nothing, inner))


# -- once more ---------------------------------------------------------------------------------------------------------


class _Watched:
    """A formula that is evaluated while the user's lines in it are watched. `place`: the line that made the first number
    that is no finite real one; else the innermost that returned the result."""

    def __init__(self, relative: Callable[[str], str], place: Location) -> None:
        self.value: Any = None
        self._default = place
        self._relative = relative
        self._first: Location | None = None
        self._returned: list[tuple[Any, Location]] = []
        self.skipped: CodeType | None = None
        """The formula itself, as it is evaluated."""
        self._lines: dict[int, int] = {}

    @property
    def place(self) -> Location:
        """See the class."""
        inner = (place for value, place in self._returned if _same(_number(value), _number(self.value)))
        return self._first or next(inner, None) or self._default

    def run(self, formula: Callable[[], Any]) -> None:
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            self.value = formula()
        finally:
            sys.settrace(before)

    def _call(self, frame: FrameType, event: str, value: Any) -> Any:
        return self._line if is_user_file(frame.f_code.co_filename) and frame.f_code is not self.skipped else None

    def _line(self, frame: FrameType, event: str, value: Any) -> Any:
        line = self._lines.get(id(frame), frame.f_lineno)
        if self._first is None:
            numbers = [item for item in frame.f_locals.values() if isinstance(item, (float, complex))]
            if event == "return":
                numbers.append(value)
            given = self._lines.get(-id(frame))
            if any(not _is_real(number) for number in numbers):
                if given is not None or event == "return":
                    self._first = frame_location(frame, self._relative, line if event != "return" else frame.f_lineno)
        self._lines[-id(frame)] = 1
        if event == "return":
            self._returned.append((value, frame_location(frame, self._relative)))
        self._lines[id(frame)] = frame.f_lineno
        return self._line


def _again(function: Any, arguments: tuple[Any, ...], relative: Callable[[str], str]) -> _Watched | None:
    code = getattr(function, "__code__", None) or getattr(vars(type(function)).get("__call__"), "__code__", None)
    if not isinstance(code, CodeType) or not is_user_file(code.co_filename) or not _writes_nothing(code):
        return None
    place = Location(
        file=relative(code.co_filename), line=code.co_firstlineno, function=code.co_qualname,
        code=linecache.getline(code.co_filename, code.co_firstlineno).strip(),
    )
    watched = _Watched(relative, place)
    with quiet():
        try:
            watched.run(lambda: function(*arguments))
        except Exception:
            return None
    return watched


def _at(code: CodeType, node: ast.expr | ast.stmt, relative: Callable[[str], str]) -> Location:
    text = linecache.getline(code.co_filename, node.lineno).strip()
    return Location(file=relative(code.co_filename), line=node.lineno, function=code.co_qualname, code=text)


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _is_real(value: object) -> bool:
    try:
        return not isinstance(value, complex) and (not hasattr(value, "__float__") or math.isfinite(float(value)))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-6)


def _shown(value: object) -> str:
    number = _number(value)
    return "nan" if math.isnan(number) else f"{number:.4g}"
