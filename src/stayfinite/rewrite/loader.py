"""Compiles the user's script and the modules it imports with their step loops wrapped."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import sys
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Analysis
from stayfinite.rewrite.project import SourceIndex, is_user_file
from stayfinite.rewrite.transform import transform


class Rewriter:
    """Turns source text into code. One object serves one script and everything it imports.

    `on_failure` is told when a file could not be rewritten; it then runs as it is.
    """

    def __init__(self, folder: str, on_failure: Callable[[str, Exception], None]) -> None:
        self.index = SourceIndex(folder)
        self._on_failure = on_failure

    def compile(self, source: str | bytes, path: str) -> types.CodeType:
        """Code of `source`, wrapped where it trains.

        **Raises** SyntaxError as `compile` does, for source that does not parse.
        """
        try:
            tree = ast.parse(source, path)
        except SyntaxError:
            compile(source, path, "exec", dont_inherit=True)  # the user's own error, worded by the compiler
            raise
        try:
            return self._rewrite(tree, source, path)
        except Exception as error:  # whatever goes wrong here, the script must run
            self._on_failure(path, error)
            return compile(source, path, "exec", dont_inherit=True)

    def _rewrite(self, tree: ast.Module, source: str | bytes, path: str) -> types.CodeType:
        self.index.add(path, ast.parse(source, path))  # the index keeps pristine trees; this one is changed
        sites = Analysis(self.index.closure(path, tree)).sites(os.path.realpath(path), len(runtime.blocks) + 1)
        for site in sites:
            runtime.blocks[site.block.id] = site.block
        return compile(transform(tree, sites), path, "exec", dont_inherit=True)


class _RewritingLoader(importlib.machinery.SourceFileLoader):
    """Loads a user's module with its step loops wrapped; never reads or writes cached byte code of ours."""

    rewriter: Rewriter

    def get_code(self, fullname: str) -> types.CodeType | None:
        path = self.get_filename(fullname)
        return self.rewriter.compile(self.get_data(path), path)


class RewritingFinder(importlib.abc.MetaPathFinder):
    """Finds modules as Python does, and hands the user's own to the rewriting loader."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] in sys.stdlib_module_names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or type(spec.loader) is not importlib.machinery.SourceFileLoader:
            return None
        if not is_user_file(spec.origin):
            return None
        loader = _RewritingLoader(fullname, spec.origin)
        loader.rewriter = self._rewriter
        spec.loader = loader
        return spec


def read_source(path: str) -> bytes:
    """The bytes of the script at `path`.

    **Raises** OSError as `open` does.
    """
    with io.open_code(path) as file:
        return file.read()


def main_module(path: str, name: str = "__main__") -> types.ModuleType:
    """A fresh module as Python makes one for a script at `path`, not yet executed."""
    module = types.ModuleType(name)
    module.__dict__.update({"__file__": path, "__builtins__": __builtins__, "__cached__": None, "__spec__": None})
    return module


def execute(code: types.CodeType, module: types.ModuleType) -> None:
    """Run `code` as the body of `module`."""
    namespace: dict[str, Any] = module.__dict__
    exec(code, namespace)
