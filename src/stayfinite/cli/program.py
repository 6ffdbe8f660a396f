"""What to run, found and prepared as Python does it.

A script, a folder or an archive with a ``__main__`` in it, or a module by name.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import os
import pkgutil
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any

from stayfinite.rewrite.loader import Rewriter, RewritingFinder, read_source


@dataclass(frozen=True)
class Target:
    """What to run: a `script` path or a `module` name, with the arguments that are its own."""

    script: str | None
    module: str | None
    arguments: tuple[str, ...]


class CannotStart(Exception):
    """The target cannot be run; the message is what `python` would say. Carries the exit code 2 of wrong use."""


def find(target: Target) -> tuple[str, ModuleSpec | None]:
    """The file of `target`, and its import spec unless it is a script. Imports nothing.

    **Raises** CannotStart if there is no such file or module. A module inside a package may still turn out to be
    missing when its package has been imported (`code_of`).
    """
    if target.module is not None:
        return _find_module(target.module)
    assert target.script is not None
    path = os.path.join(os.getcwd(), target.script)  # as Python does: made absolute, not made simple
    if pkgutil.get_importer(path) is not None:  # a folder or an archive
        spec = PathFinder.find_spec("__main__", [path])
        if spec is None or spec.origin is None:
            raise CannotStart(f"can't find '__main__' module in {path!r}. Name a script, or run a module with -m.")
        return spec.origin, spec
    try:
        with io.open_code(path):
            return path, None
    except OSError as error:
        raise CannotStart(f"can't open file {path!r}: {error.strerror}. Check the path.") from None


def _find_module(name: str) -> tuple[str, ModuleSpec | None]:
    """Where module `name` lies, as far as can be told without importing its packages."""
    places = list(sys.path) if sys.flags.safe_path else [os.getcwd(), *sys.path]
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for part in parts:
        spec = PathFinder.find_spec(part, places)  # by its last name: a longer one asks for its packages to be imported
        if spec is None:
            break
        places = list(spec.submodule_search_locations or [])
    if spec is None and (not all(parts) or importlib.util.find_spec(parts[0]) is None):
        raise CannotStart(f"no module named {name!r} can be run from here. Check the name and the current folder.")
    if spec is not None and spec.submodule_search_locations is not None:
        name, spec = f"{name}.__main__", PathFinder.find_spec("__main__", places)
    if spec is None or spec.origin is None or not spec.has_location:
        return os.path.join(os.getcwd(), parts[-1] + ".py"), None
    return spec.origin, importlib.util.spec_from_file_location(name, spec.origin)


def become(target: Target, path: str, package: ModuleSpec | None, rewriter: Rewriter | None) -> types.ModuleType:
    """Make this process look as `python` makes it for `target`: arguments, import path, a fresh ``__main__``.

    Modules of the user's that are imported from now on go through `rewriter`.
    """
    if target.module is not None:
        sys.argv = ["-m", *target.arguments]  # until the module is found, as under Python
        first = os.getcwd()
    else:
        assert target.script is not None
        sys.argv = [target.script, *target.arguments]
        first = os.path.dirname(os.path.realpath(path)) if package is None else os.path.join(os.getcwd(), target.script)
    if not sys.flags.safe_path:
        sys.path[0] = first  # in the place of our own command's folder
    elif target.script is not None and package is not None:
        sys.path.insert(0, first)
    if rewriter is not None:
        sys.meta_path.insert(0, RewritingFinder(rewriter))
    main = main_module(path, package)
    sys.modules["__main__"] = main
    return main


def main_module(path: str, spec: ModuleSpec | None = None) -> types.ModuleType:
    """``__main__`` as Python makes it for the script at `path`, or for what `spec` names, not yet executed."""
    main = types.ModuleType("__main__")
    _dress(main, path, spec)
    return main


def _dress(main: types.ModuleType, path: str, spec: ModuleSpec | None) -> None:
    main.__package__ = spec.parent if spec is not None else None
    main.__loader__ = spec.loader if spec is not None else SourceFileLoader("__main__", path)
    main.__spec__ = spec
    cached = spec.cached if spec is not None else None
    main.__dict__.update(__annotations__={}, __builtins__=builtins, __file__=path, __cached__=cached)


def code_of(target: Target, main: types.ModuleType, path: str, rewriter: Rewriter | None) -> types.CodeType:
    """The code of `target`, its step loops wrapped. For a module this imports the packages it lies in.

    **Raises** CannotStart if there is no such module after all, SyntaxError for source that does not parse, and
    whatever the packages raise.
    """
    spec = main.__spec__
    if target.module is not None:
        spec = _spec_of(target.module)
        assert spec.origin is not None
        path = spec.origin
        _dress(main, path, spec)
        sys.argv[0] = path
    if spec is None or isinstance(spec.loader, SourceFileLoader):
        source = read_source(path)
        return rewriter.compile(source, path) if rewriter else compile(source, path, "exec", dont_inherit=True)
    read: Callable[[str], Any] | None = getattr(spec.loader, "get_code", None)  # an archive, a compiled module
    code = read(spec.name) if read is not None else None
    if not isinstance(code, types.CodeType):
        raise CannotStart(f"there is no code for {spec.name!r} that could be run")
    return code


def _spec_of(name: str) -> ModuleSpec:
    """The spec of a module that is run, after its packages were imported."""
    package = name.rpartition(".")[0]
    if package:
        try:
            __import__(package)
        except ImportError as error:
            if error.name is None or not f"{package}.".startswith(f"{error.name}."):
                raise  # the package's own failure
        if name in sys.modules and not hasattr(sys.modules[name], "__path__"):
            message = f"{package} imports {name}, which is run now: there will be two of it"
            warnings.warn_explicit(message, RuntimeWarning, "stayfinite", 0)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise CannotStart(f"no module named {name!r} can be run from here: {error}") from None
    if spec is not None and spec.submodule_search_locations is not None and not name.endswith("__main__"):
        return _spec_of(f"{name}.__main__")
    if spec is None or spec.origin is None or spec.submodule_search_locations is not None:
        raise CannotStart(f"no module named {name!r} can be run from here. Check the name and the current folder.")
    return spec
