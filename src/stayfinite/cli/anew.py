"""A script begins again in the same process, with another text for some of its files (``--on-incident recover``).

What the script changed in this process is put back as far as it is known: environment, folder, import path, its own modules,
standard streams, loggers, how processes are started, the state of generators. What a library keeps for itself, what was written to disk
and sent elsewhere, stays.
"""

from __future__ import annotations

import gc
import importlib
import linecache
import logging
import os
import sys
import types
from collections.abc import Iterator, Mapping

from stayfinite.records.fix import Fix
from stayfinite.rewrite import beginning
from stayfinite.rewrite.files import UserFiles
from stayfinite.rewrite.loader import RewritingFinder
from stayfinite.rewrite.project import is_user_file


class Before:
    """This process before the script began."""

    def __init__(self) -> None:
        self._folder = os.getcwd()
        self._path = list(sys.path)
        self._modules = set(sys.modules)
        self._handlers = {id(logger): [*logger.handlers] for logger in _loggers()}
        self._level = logging.root.level
        self._streams = sys.stdout, sys.stderr, sys.excepthook
        self._started = _start_method()

    def put_back(self) -> None:
        """Make this process look as it did. The framework's own settings are its session's to put back."""
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if name not in self._modules and isinstance(path, str) and is_user_file(path):
                del sys.modules[name]
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, RewritingFinder)]
        sys.path[:] = self._path
        os.chdir(self._folder)
        for logger in _loggers():
            if logger.name.partition(".")[0] not in sys.modules:  # a library that stays loaded does not set up its own again
                logger.handlers[:] = self._handlers.get(id(logger), [])
        logging.root.setLevel(self._level)
        sys.stdout, sys.stderr, sys.excepthook = self._streams
        if _start_method() != self._started:  # it may be set only once
            sys.modules["multiprocessing"].set_start_method(self._started, force=True)
        importlib.invalidate_caches()
        beginning.begin_again(beginning.noted())
        for name, begin in beginning.BEGUN.items():
            if name in sys.modules:
                begin(beginning.noted())
        gc.collect()  # models and loaders of the first time are in cycles


def _start_method() -> str | None:
    """How `multiprocessing` was told to start processes; ``None`` if nobody told it."""
    known = sys.modules.get("multiprocessing")
    method: str | None = known.get_start_method(allow_none=True) if known is not None else None
    return method


def let_go(main: types.ModuleType) -> None:
    """Take what may be large out of the `main` of the first time: a model is not to be held twice. Functions, classes, modules and plain
    values stay, because what the script registered for the exit, or a thread of it, may still ask for them."""
    for name, value in list(vars(main).items()):
        if not isinstance(value, (types.FunctionType, types.ModuleType, type, str, bytes, int, float, bool, type(None))):
            del vars(main)[name]


def _loggers() -> Iterator[logging.Logger]:
    yield logging.root
    yield from (one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger))


def changed(folder: str, fix: Fix, before: Mapping[str, str]) -> dict[str, str]:
    """Real path of each file to the text that runs in its place from now on: that of `fix` beside what ran `before`. Tracebacks and
    compilers read it, too.

    **Raises** `CannotApply` where `fix` does not fit the text that ran.
    """
    from stayfinite.catalog.edits.changes import patched  # most runs do not begin again

    files = UserFiles(folder)
    texts = {**before, **{files.path(file): text for file, text in patched(files, fix).items()}}
    for path, text in texts.items():
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    return texts
