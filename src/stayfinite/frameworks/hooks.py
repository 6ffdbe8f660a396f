"""Runs a function right after a module has been imported, and never imports it."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from stayfinite.rewrite.loader import find_behind


def when_imported(name: str, then: Callable[[], None]) -> Callable[[], None]:
    """Call `then` once `name` has been imported: now if it already is. Returns a function that gives up waiting."""
    if name in sys.modules:
        then()
        return lambda: None
    finder = _Finder(name, then)
    sys.meta_path.insert(0, finder)

    def forget() -> None:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)

    return forget


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for one module at the head of the search, and steps aside when it has come."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = find_behind(self, fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)  # several may wait for one module
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self._then()

        # the loader object is this spec's own: looking a module up, as some do to learn if it is there, imports nothing
        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
