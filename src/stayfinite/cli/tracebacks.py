"""Shows an exception of the user's script as the interpreter would, with nothing of ours in it."""

from __future__ import annotations

import os
import sys
import types

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def print_traceback(error: BaseException) -> int:
    """Do what the interpreter does with an exception that nobody caught: `sys.excepthook` shows it.

    **Returns** the exit code: 1, or what a hook of the user's exits with. Must not be called while an exception is
    handled, or that one would show up as context of what a hook raises.
    """
    trim(error)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    sys.last_exc = error  # type: ignore[attr-defined]  # since Python 3.12
    hook = getattr(sys, "excepthook", None)
    if hook is None:
        print("sys.excepthook is missing", file=sys.stderr)
        hook = sys.__excepthook__
    broken: BaseException | None = None
    try:
        hook(type(error), error, error.__traceback__)
    except SystemExit as leaving:
        return exit_code(leaving)
    except BaseException as raised:
        broken = raised
    if broken is not None:
        trim(broken)
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(broken), broken, broken.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)
    return 1


def exit_code(leaving: SystemExit) -> int:
    """The code Python ends with for `leaving`; anything but a number is shown."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF if os.name != "nt" else leaving.code
    print(leaving.code, file=sys.stderr)
    return 1


def trim(error: BaseException) -> None:
    """Take our own frames out of the traceback of `error`, of what led to it, and of the members of groups."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        trace = _trimmed(current.__traceback__)
        if trace is not None or isinstance(current, SyntaxError):  # else it is ours alone: show where
            current.__traceback__ = trace
        pending += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions


def _trimmed(trace: types.TracebackType | None) -> types.TracebackType | None:
    entries: list[types.TracebackType] = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    result = None
    ours_follows = False
    for entry in reversed(entries):
        name = entry.tb_frame.f_code.co_filename
        # the import system takes its own frames out, but not where one of ours stands between them
        if name.startswith(_PACKAGE) or (ours_follows and name.startswith("<frozen importlib")):
            ours_follows = True
            continue
        result = types.TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        ours_follows = False
    return result
