"""Which source files are the user's own, and where they are.

The user's own code is every Python file outside the standard library, outside site-packages and outside this package;
editable installs count as own, virtual environments inside the project do not.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.machinery
import os
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FOREIGN_PARTS = frozenset({"site-packages", "dist-packages", ".venv", "venv", "node_modules", "__pypackages__"})


@functools.cache
def _foreign_roots() -> tuple[str, ...]:
    paths = {sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(site.getsitepackages() if hasattr(site, "getsitepackages") else [])
    return tuple(os.path.realpath(path) + os.sep for path in paths)


def _resolved(filename: str) -> str:
    """`os.path.realpath`, at one look per file and not one per folder above it: frameworks import thousands of files."""
    if os.path.islink(filename):
        return os.path.realpath(filename)
    folder, name = os.path.split(filename)
    return os.path.join(_resolved_folder(folder), name)


@functools.lru_cache(maxsize=4096)
def _resolved_folder(folder: str) -> str:
    return os.path.realpath(folder)


cell_names: dict[str, str] = {}
"""File name that IPython compiles a cell under -> what the reader knows it by: ``"In [3]"``."""


def is_cell(filename: str) -> bool:
    """True if `filename` (as in a code object) is that of a notebook's cell."""
    return "ipykernel_" in filename or os.path.basename(filename).startswith(("<ipython-input", "ipython-input"))


@functools.lru_cache(maxsize=4096)
def is_user_file(filename: str) -> bool:
    """True if `filename` (as in a code object) is source of the user's own, notebook cells included."""
    if is_cell(filename):
        return True
    if filename.startswith("<"):
        return False
    path = _resolved(filename)
    if path.startswith(_PACKAGE + os.sep):
        return False
    parts = path.split(os.sep)
    if not _FOREIGN_PARTS.isdisjoint(parts):
        return False
    return not path.startswith(_foreign_roots())


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Warnings of parsing are shown when Python parses the same source to run it, not when we look at it before.

    `warnings.catch_warnings` would do, but it also makes Python forget which warnings of the user's it has shown.
    """
    ignoring = ("ignore", None, Warning, None, 0)
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    filters.insert(0, ignoring)
    try:
        yield
    finally:
        filters.remove(ignoring)


class SourceIndex:
    """Parsed source of the user's modules, read on demand and never imported.

    `folder` is the script's folder: imports are looked up there and on `sys.path`. A module that does not parse or is
    not the user's own is absent. `changed`: real path of a file to the text that counts in the place of what is on disk.
    """

    def __init__(self, folder: str, changed: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._changed = changed or {}
        self._trees: dict[str, ast.Module | None] = {}

    def add(self, path: str, tree: ast.Module) -> None:
        """Register `tree` as the source of `path`."""
        self._trees[os.path.realpath(path)] = tree

    def closure(self, path: str, tree: ast.Module) -> dict[str, ast.Module]:
        """`tree` and every user module that it imports, directly or through others, by path."""
        found: dict[str, ast.Module] = {}
        pending = [(os.path.realpath(path), tree)]
        while pending:
            here, module = pending.pop()
            if here in found:
                continue
            found[here] = module
            for name, package in _imports(module, here):
                target = self._find(name, package, here)
                if target is not None and target not in found:
                    loaded = self._load(target)
                    if loaded is not None:
                        pending.append((target, loaded))
        return found

    def _load(self, path: str) -> ast.Module | None:
        if path not in self._trees:
            try:
                with open(path, "rb") as source, unheard():
                    self._trees[path] = ast.parse(self._changed.get(os.path.realpath(path)) or source.read(), path)
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                self._trees[path] = None
        return self._trees[path]

    def _find(self, name: str, package: str | None, importer: str) -> str | None:
        if package is not None:
            return _locate(name, (package,))
        if name.split(".")[0] in sys.stdlib_module_names:
            return None
        return _locate(name, (self.folder, os.path.dirname(importer), *sys.path))


@functools.lru_cache(maxsize=4096)
def _locate(name: str, folders: tuple[str, ...]) -> str | None:
    search: list[str] | None = list(dict.fromkeys(folders))
    spec = None
    for part in name.split("."):
        # by its last name: a longer one asks for the packages it lies in to be imported
        spec = importlib.machinery.PathFinder.find_spec(part, search)
        if spec is None:
            return None
        if spec.origin is not None and not is_user_file(spec.origin):
            return None
        search = list(spec.submodule_search_locations or [])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return os.path.realpath(spec.origin)


def _imports(tree: ast.Module, path: str) -> set[tuple[str, str | None]]:
    """(module name, folder of the package it is relative to, or None) for each import of `tree`."""
    found: set[tuple[str, str | None]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = None
            if node.level:
                package = os.path.dirname(path)
                for _ in range(node.level - 1):
                    package = os.path.dirname(package)
            if node.module:
                found.add((node.module, package))
            prefix = f"{node.module}." if node.module else ""
            found.update((prefix + alias.name, package) for alias in node.names if alias.name != "*")
    return found


def is_user_object(value: object) -> bool:
    """True if the class of `value` is the user's own."""
    return is_user_class(type(value))


def is_user_class(kind: type) -> bool:
    """True if `kind` is defined in the user's own source."""
    module = sys.modules.get(kind.__module__)
    if module is None:
        return False
    if kind.__module__ in ("__main__", "__mp_main__"):
        return True
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and is_user_file(file)
