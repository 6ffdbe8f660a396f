"""Runs a script or module as Python would, watched."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from stayfinite import shield
from stayfinite.cli import Interrupted, anew
from stayfinite.cli.program import CannotStart, Target, become, code_of, find
from stayfinite.cli.tracebacks import exit_code, print_traceback, trim
from stayfinite.errors import BeginAgain, TrainingHalted
from stayfinite.frameworks.hooks import when_imported
from stayfinite.frameworks.torch.options import Options
from stayfinite.records.fix import CannotApply
from stayfinite.rewrite import beginning
from stayfinite.rewrite.births.second_run import Program
from stayfinite.rewrite.loader import Rewriter, execute
from stayfinite.watching import Watching, manifest_of

HALTED, WRONG_USE, NOT_STARTED = 3, 2, 4


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
    """Run `target` to its end and return the exit code of the contract.

    **Raises** Interrupted if the script was ended by Ctrl-C; its traceback has been shown then.
    """
    try:
        path, package = find(target)
    except CannotStart as reason:
        print(f"stayfinite: {reason}", file=sys.stderr)
        return WRONG_USE
    here = os.path.dirname(os.path.realpath(path))
    name = target.module or target.script or ""
    try:
        manifest = manifest_of(name, target.arguments, module=target.module, folder=here)
        program = Program(manifest.script, manifest.module, manifest.argv, manifest.working_directory, here)
        options = replace(options, folder=here, program=program, begins_again=options.on_incident == "recover")
        watching = Watching(manifest, options, folder=folder, quiet=quiet, color=color)
        beginning.note()
        before = anew.Before()
        forget = [when_imported(module, partial(_note, then)) for module, then in beginning.NOTED.items()]
        rewriter = Rewriter(here, _note_unwrapped) if rewrite else None
        main = become(target, path, package, rewriter)
        watching.attach(rewrite=rewrite)
    except Exception as error:
        print(f"stayfinite: could not start: {type(error).__name__}: {error}", file=sys.stderr)
        if shield.strict():
            raise
        return NOT_STARTED
    process = os.getpid()
    code, failure = _execute(target, main, path, rewriter)
    while isinstance(failure, BeginAgain) and os.getpid() == process:
        anew.let_go(main)
        code, failure = _execute_again(failure, target, watching, before)
    for give_up in forget:
        give_up()
    if failure is not None:
        code = print_traceback(failure)
    if os.getpid() == process:  # a child forked by the script may come out here: its parent tells what it found
        _await_threads()
        with _surviving("gathering from child processes"):
            watching.gather()
        if watching.stopped:
            code, failure = HALTED, None
        with _surviving("report"):
            report = watching.finish(code)
            watching.tell_end(report)
            if json_file is not None:
                _write_json(json_file, report)
        watching.log_rehearsals()
    if isinstance(failure, KeyboardInterrupt):
        raise Interrupted
    return code


def _execute(
    target: Target, main: types.ModuleType, path: str, rewriter: Rewriter | None
) -> tuple[int, BaseException | None]:
    """Run the script; returns the exit code Python would have given it, and what it raised and nobody caught."""
    try:
        try:
            code = code_of(target, main, path, rewriter)
        except (SyntaxError, ValueError) as error:
            if target.script is None or main.__spec__ is not None:
                raise
            return _let_python_say(target, error)
        execute(code, main)
    except SystemExit as leaving:
        return exit_code(leaving), None
    except CannotStart as reason:
        print(f"stayfinite: {reason}", file=sys.stderr)
        return WRONG_USE, None
    except TrainingHalted:
        return HALTED, None
    except BaseException as error:
        return 1, error
    return 0, None


def _execute_again(
    asked: BeginAgain, target: Target, watching: Watching, before: anew.Before
) -> tuple[int, BaseException | None]:
    """Run the script from its start with the patch that is `asked` for. As `_execute`; where it cannot be patched, as it was halted."""
    options = watching.options
    try:
        texts = anew.changed(options.folder, asked.fix, options.changed)
    except CannotApply as reason:
        print(f"stayfinite: the script does not begin again: {reason}", file=sys.stderr)
        return HALTED, None
    asked.__traceback__ = None  # it keeps the frames of the script alive, and with them its model
    watching.end_session()
    before.put_back()
    rewriter = Rewriter(options.folder, _note_unwrapped, texts)
    path, package = find(target)
    main = become(target, path, package, rewriter)
    # a stored step would be replayed with the files as they are on disk
    watching.begin_again(replace(options, changed=texts, keep_case=False))
    return _execute(target, main, path, rewriter)


def _note(then: Callable[[], None]) -> None:
    with shield.shielded("the beginning of the run"):
        then()


def _note_unwrapped(path: str, error: Exception) -> None:
    shield.note_failure(f"wrapping {path}", error)


def _let_python_say(target: Target, error: SyntaxError | ValueError) -> tuple[int, BaseException | None]:
    """A script that is not Python: only the interpreter reads files byte by byte, and words what is wrong with them."""
    assert target.script is not None
    try:
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        return subprocess.call([sys.executable, *flags, target.script, *target.arguments]), None
    except OSError:
        return 1, error


def _await_threads() -> None:
    """The interpreter waits for threads before it ends; they may train. Workers of pools wait for its end."""
    pooled = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", ())
    ended_otherwise = {threading.current_thread(), *pooled}
    with contextlib.suppress(KeyboardInterrupt):
        while running := [t for t in threading.enumerate() if not t.daemon and t not in ended_otherwise]:
            running[0].join()


@contextlib.contextmanager
def _surviving(what: str) -> Iterator[None]:
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


__all__ = ["CannotStart", "Target", "become", "code_of", "find", "print_traceback", "run", "trim"]
