"""The process of a second run (`rewrite.births.second_run`): runs the script under the microscope and writes what it saw.

    python -m stayfinite.cli.second_run REQUEST ANSWER
"""

from __future__ import annotations

import builtins
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from stayfinite.cli.program import Target, become, code_of, find
from stayfinite.records.encoding import encode
from stayfinite.records.numbers import to_float
from stayfinite.rewrite import runtime
from stayfinite.rewrite.births.matching import match
from stayfinite.rewrite.births.microscope import Microscope, OutOfTime
from stayfinite.rewrite.births.second_run import Answer, Request
from stayfinite.rewrite.blocks import Block
from stayfinite.rewrite.loader import Rewriter, execute
from stayfinite.rewrite.project import is_user_file
from stayfinite.rewrite.quiet import quiet
from stayfinite.rewrite.runtime import Attempt


class Reached(BaseException):
    """The first step begins. Derives from BaseException: the user's handlers must not swallow it."""


class _Stop:
    """The driver of a second run (`runtime.Driver`): ends it when the set-up is over."""

    def __init__(self, passes: int, scope: Microscope) -> None:
        self._left = passes
        self._scope = scope
        self.set_up: int | None = None
        """Events of the set-up; later ones lie between steps or in them."""

    def attempts(self, block: Block, frame: FrameType) -> Iterable[Attempt]:
        if self.set_up is None:
            self.set_up = len(self._scope.events)
        if self._left <= 0:
            raise Reached
        self._left -= 1
        return (Attempt(),)

    def advance(self, iterator: Iterator[Any], default: tuple[Any, ...]) -> Any:
        return next(iterator, *default)


def main(arguments: list[str]) -> int:
    """Serve one request."""
    request = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Request)
    place = Path(arguments[1]).absolute()
    answer = encode(_serve(request))
    place.write_bytes(answer)
    return 0


def _serve(request: Request) -> Answer:
    program = request.program
    target = Target(None if program.module else program.script, program.module, program.argv)
    path, package = find(target)
    rewriter = Rewriter(program.folder, lambda _path, _error: None)
    scope = Microscope(to_float(request.wanted.limit), time.monotonic() + request.seconds)
    stop = _Stop(request.wanted.passes, scope)
    runtime.set_driver(stop)
    ended = "it came to its end"
    with _WrittenToNobody(), _UnwatchedImports(), quiet() as silence:
        main_module = become(target, path, package, rewriter)
        try:
            with scope:
                execute(code_of(target, main_module, path, rewriter), main_module)
        except Reached:
            ended = "it came to the step" if request.wanted.passes else "it came to its first step"
        except OutOfTime as reason:
            ended = str(reason)
        except BaseException as error:
            ended = silence.refused or f"it was ended by {type(error).__name__}: {error}"
    return match(scope, request.wanted, _relative_to(program.folder), ended, stop.set_up)


def _relative_to(folder: str) -> Callable[[str], str]:
    def relative(path: str) -> str:
        whole = os.path.realpath(path)
        return os.path.relpath(whole, folder) if folder and whole.startswith(folder.rstrip(os.sep) + os.sep) else whole

    return relative


class _UnwatchedImports:
    """Packages of others are imported with the microscope off: a framework takes a million calls to load."""

    def __enter__(self) -> None:
        self._import = builtins.__import__
        self._foreign: dict[str, bool] = {}

        def imported(name: str, names: Any = None, local: Any = None, wanted: Any = (), level: int = 0) -> Any:
            full = name if not level else str((names or {}).get("__package__") or "")
            watching = sys.gettrace()
            if watching is None or (not level and name in sys.modules and not wanted) or not self._is_foreign(full.partition(".")[0]):
                return self._import(name, names, local, wanted, level)
            sys.settrace(None)
            try:
                return self._import(name, names, local, wanted, level)
            finally:
                sys.settrace(watching)

        setattr(builtins, "__import__", imported)  # noqa: B010  (an assignment would have to repeat its type)

    def __exit__(self, *_error: object) -> None:
        builtins.__import__ = self._import

    def _is_foreign(self, top: str) -> bool:
        if top not in self._foreign:
            if top in sys.modules:
                origin = getattr(sys.modules[top], "__file__", None)
            else:
                spec = PathFinder.find_spec(top) if top and top not in sys.builtin_module_names else None
                origin = spec.origin if spec is not None else None
            self._foreign[top] = top in sys.stdlib_module_names or (origin is not None and not is_user_file(origin))
        return self._foreign[top]


class _WrittenToNobody:
    """Files the script opens for writing are the null device: what the first run wrote is there, and stays as it is."""

    def __enter__(self) -> None:
        self._open = builtins.open

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if isinstance(mode, str) and not set("wax+").isdisjoint(mode) and not isinstance(file, int):
                file, mode = os.devnull, mode.replace("x", "w")
            return self._open(file, mode, *args, **kwargs)

        builtins.open = io.open = opened
        self._makers = {name: getattr(os, name) for name in ("mkdir", "makedirs")}
        for name in self._makers:
            setattr(os, name, lambda *_args, **_kwargs: None)

    def __exit__(self, *_error: object) -> None:
        builtins.open = io.open = self._open
        for name, maker in self._makers.items():
            setattr(os, name, maker)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # threads and workers the script began are not waited for

