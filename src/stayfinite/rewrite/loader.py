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
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Analysis
from stayfinite.rewrite.project import SourceIndex, is_user_file, unheard
from stayfinite.rewrite.transform import next_calls, transform


class Rewriter:
    """Turns source text into code. One object serves one script and everything it imports.

    `on_failure` is told when a file could not be rewritten; it then runs as it is. `changed`: real path of a file to the
    text that is compiled in the place of what is on disk.
    """

    def __init__(
        self, folder: str, on_failure: Callable[[str, Exception], None], changed: Mapping[str, str] | None = None
    ) -> None:
        self._changed = changed or {}
        self.index = SourceIndex(folder, self._changed)
        self._on_failure = on_failure

    def compile(self, source: str | bytes, path: str) -> types.CodeType:
        """Code of `source`, wrapped where it trains.

        **Raises** SyntaxError as `compile` does, for source that does not parse.
        """
        source = self._changed.get(os.path.realpath(path), source) if self._changed else source
        try:
            return self._rewrite(source, path)
        except Exception as error:  # whatever goes wrong here, the script must run
            failure = error
        code = compile(source, path, "exec", dont_inherit=True)  # words an error of the user's as Python does
        self._on_failure(path, failure)
        return code

    def _rewrite(self, source: str | bytes, path: str) -> types.CodeType:
        with unheard():
            tree = ast.parse(source, path)
        sites = Analysis(self.index.closure(path, tree)).sites(os.path.realpath(path), len(runtime.blocks) + 1)
        if not sites and not next_calls(tree):
            self.index.add(path, tree)
            return compile(source, path, "exec", dont_inherit=True)
        self.index.add(path, ast.parse(source, path))  # the index keeps pristine trees; this one is changed
        for site in sites:
            runtime.blocks[site.block.id] = site.block
        return compile(transform(tree, sites), path, "exec", dont_inherit=True)


class _RewritingLoader(importlib.machinery.SourceFileLoader):
    """Loads a user's module with its step loops wrapped; never reads or writes cached byte code of ours."""

    rewriter: Rewriter
    _code: types.CodeType | None = None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        # compiled already here, where a module that does not parse can still be left to Python: what it raises then
        # has none of our frames in it, wherever the user catches it
        try:
            self._code = self._compile(self.name)
        except Exception:
            spec.loader = importlib.machinery.SourceFileLoader(self.name, self.path)
        return None

    def get_code(self, fullname: str) -> types.CodeType | None:
        code, self._code = self._code, None
        return code or self._compile(fullname)

    def _compile(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return self.rewriter.compile(self.get_data(path), path)


class RewritingFinder(importlib.abc.MetaPathFinder):
    """Finds modules as the finders behind it do, and hands the user's own to the rewriting loader."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._foreign: set[str] = set()
        """Top-level packages of others. What lies in them is theirs too, and frameworks import two thousand modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top in sys.stdlib_module_names or top in self._foreign:
            return None
        spec = find_behind(self, fullname, path, target)
        plain = spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader
        if spec is None or spec.origin is None or not plain:
            return spec
        if not is_user_file(spec.origin):
            if fullname == top:
                self._foreign.add(top)
            return spec
        loader = _RewritingLoader(fullname, spec.origin)
        loader.rewriter = self._rewriter
        spec.loader = loader
        return spec


def find_behind(
    finder: importlib.abc.MetaPathFinder, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None
) -> ModuleSpec | None:
    """What the import system would find if `finder` and those before it were not there."""
    finders = list(sys.meta_path)
    for other in finders[finders.index(finder) + 1 :] if finder in finders else finders:
        find = getattr(other, "find_spec", None)
        spec = find(fullname, path, target) if find is not None else None
        if spec is not None:
            assert isinstance(spec, ModuleSpec)
            return spec
    return None


def read_source(path: str) -> bytes:
    """The bytes of the script at `path`.

    **Raises** OSError as `open` does.
    """
    with io.open_code(path) as file:
        return file.read()


def execute(code: types.CodeType, module: types.ModuleType) -> None:
    """Run `code` as the body of `module`."""
    namespace: dict[str, Any] = module.__dict__
    exec(code, namespace)
