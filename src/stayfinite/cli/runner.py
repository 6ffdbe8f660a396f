"""Runs a script or module as Python would, watched."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stayfinite import shield
from stayfinite.errors import TrainingHalted
from stayfinite.frameworks.torch.options import Options
from stayfinite.rewrite.loader import Rewriter, RewritingFinder, execute, main_module, read_source
from stayfinite.watching import Watching, manifest_of

HALTED, WRONG_USE, NOT_STARTED = 3, 2, 4


@dataclass(frozen=True)
class Target:
    """What to run: a `script` path or a `module` name, with the arguments that are its own."""

    script: str | None
    module: str | None
    arguments: tuple[str, ...]


class CannotStart(Exception):
    """The target cannot be run; the message is what `python` would say. Carries the exit code 2 of wrong use."""


def run(
    target: Target,
    options: Options,
    *,
    folder: Path | None,
    json_file: str | None,
    rewrite: bool,
    color: bool | None,
    quiet: bool,
) -> int:
    """Run `target` to its end and return the exit code of the contract."""
    try:
        path, package = find(target)
    except CannotStart as reason:
        print(f"stayfinite: {reason}", file=sys.stderr)
        return WRONG_USE
    here = os.path.dirname(os.path.abspath(path))
    name = target.module or target.script or ""
    try:
        manifest = manifest_of(name, target.arguments, module=target.module, folder=os.path.realpath(here))
        watching = Watching(
            manifest, replace(options, folder=os.path.realpath(here)), folder=folder, quiet=quiet, color=color
        )
        rewriter = Rewriter(here, lambda failed, error: shield.note_failure(f"wrapping {failed}", error))
        main = become(target, path, package, rewriter if rewrite else None)
        watching.attach(rewrite=rewrite)
    except Exception as error:
        print(f"stayfinite: could not start: {type(error).__name__}: {error}", file=sys.stderr)
        if shield.strict():
            raise
        return NOT_STARTED
    process = os.getpid()
    exit_code = _execute(main, path, rewriter if rewrite else None)
    if os.getpid() != process:
        return exit_code  # a child forked by the script came out here: the parent tells what it found
    watching.gather()
    if watching.stopped:
        exit_code = HALTED
    with _surviving("report"):
        report = watching.finish(exit_code)
        watching.tell_end(report)
        if json_file is not None:
            _write_json(json_file, report)
    watching.log_rehearsals()
    return exit_code


def become(target: Target, path: str, package: Any, rewriter: Rewriter | None) -> types.ModuleType:
    """Make this process look as `python` makes it for `target`: arguments, import path, a fresh ``__main__``.

    Modules of the user's that are imported from now on go through `rewriter`.
    """
    main = main_module(os.path.abspath(path))
    sys.argv = [target.script or path, *target.arguments]
    sys.path[0] = os.getcwd() if target.module else os.path.dirname(os.path.abspath(path))
    if rewriter is not None:
        sys.meta_path.insert(0, RewritingFinder(rewriter))
    if package is not None:
        main.__spec__, main.__package__, main.__loader__ = package, package.parent, package.loader
    sys.modules["__main__"] = main
    return main


def find(target: Target) -> tuple[str, Any]:
    """The file of `target`, and its import spec if it is a module. **Raises** CannotStart if there is none."""
    if target.script is not None:
        path = target.script
        if os.path.isdir(path):
            path = os.path.join(path, "__main__.py")
        if not os.path.isfile(path):
            raise CannotStart(f"can't open file {os.path.abspath(target.script)!r}: no such file. Check the path.")
        return path, None
    assert target.module is not None
    sys.path[0] = os.getcwd()
    for name in (f"{target.module}.__main__", target.module):
        with contextlib.suppress(ImportError, AttributeError, ValueError):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin is not None and spec.submodule_search_locations is None:
                return spec.origin, spec
    raise CannotStart(f"no module named {target.module!r} can be run from here. Check the name and the current folder.")


def _execute(main: types.ModuleType, path: str, rewriter: Rewriter | None) -> int:
    """Run the script; returns the exit code Python would have given it."""
    path = os.path.abspath(path)
    try:
        source = read_source(path)
        code = rewriter.compile(source, path) if rewriter else compile(source, path, "exec", dont_inherit=True)
        execute(code, main)
    except SystemExit as leaving:
        return _exit_code(leaving)
    except KeyboardInterrupt as error:
        print_traceback(error)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        return 130
    except TrainingHalted:
        return HALTED
    except BaseException as error:
        print_traceback(error)
        return 1
    return 0


def _exit_code(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF if os.name != "nt" else leaving.code
    print(leaving.code, file=sys.stderr)
    return 1


def print_traceback(error: BaseException) -> None:
    """What `python` would print for `error`."""
    trim(error)
    sys.excepthook(type(error), error, error.__traceback__)


def trim(error: BaseException) -> None:
    """Take our own frames, and the line a wrapped loop adds, out of the traceback of `error` and what led to it."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _trimmed(current.__traceback__)
        pending += [current.__cause__, current.__context__]


def _trimmed(trace: types.TracebackType | None) -> types.TracebackType | None:
    entries: list[types.TracebackType] = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    kept = [entry for entry in entries if not entry.tb_frame.f_code.co_filename.startswith((package, "<frozen"))]
    # the `raise` after an attempt stands in the same frame as the line that raised: keep the latter
    kept = [
        entry for entry, following in zip(kept, [*kept[1:], None], strict=True)
        if following is None or following.tb_frame is not entry.tb_frame
    ]
    result = None
    for entry in reversed(kept):
        result = types.TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result if kept else (entries[0] if entries else None)


@contextlib.contextmanager
def _surviving(what: str) -> Any:
    try:
        yield
    except Exception as error:
        if shield.strict():
            raise
        print(f"stayfinite: {what} failed: {type(error).__name__}: {error}", file=sys.stderr)


def _write_json(json_file: str, report: Any) -> None:
    from stayfinite.reporters import json as json_reporter

    try:
        Path(json_file).write_bytes(json_reporter.to_bytes(report))
    except OSError as error:
        print(f"stayfinite: cannot write {json_file}: {error.strerror}; name another file with --json", file=sys.stderr)


__all__ = ["CannotStart", "Target", "become", "find", "print_traceback", "run", "trim"]
