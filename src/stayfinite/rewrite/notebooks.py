"""Wraps the step loops of notebook cells, as `loader` does those of files.

IPython hands every cell, as a syntax tree, to the transformers it knows before it compiles it. What a cell calls may
stand in earlier cells, so these are read along with it; a loop of a cell that ran before the watch began is compiled
already and stays as it is.
"""

from __future__ import annotations

import ast
import copy
import linecache
import os
import sys
from collections.abc import Callable
from types import FrameType

from stayfinite.rewrite import runtime
from stayfinite.rewrite.blocks import Analysis
from stayfinite.rewrite.project import SourceIndex, cell_names, unheard
from stayfinite.rewrite.transform import next_calls, transform


def wrap_cells(on_failure: Callable[[str, Exception], None]) -> Callable[[], None] | None:
    """Wrap the cells that run from now on. **Returns** what ends it; ``None`` outside of IPython and notebooks."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    if shell is None:
        return None
    cells = Cells(on_failure)
    for source in shell.history_manager.input_hist_parsed:
        cells.remember(source)
    shell.ast_transformers.append(cells)

    def undo() -> None:
        if cells in shell.ast_transformers:
            shell.ast_transformers.remove(cells)

    return undo


class Cells:
    """A transformer of cells. `on_failure` is told when one could not be wrapped; it then runs as it is."""

    def __init__(self, on_failure: Callable[[str, Exception], None]) -> None:
        self._index = SourceIndex(os.getcwd())
        self._on_failure = on_failure
        self._known: dict[str, ast.Module] = {}
        """Earlier cells as they were written, and the modules they import, by path."""

    def remember(self, source: str) -> None:
        """Read a cell that ran before; one that does not parse defines nothing."""
        try:
            with unheard():
                tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return
        self._known |= self._index.closure(f"<cell {len(self._known)}>", tree)

    def visit(self, cell: ast.Module) -> ast.Module:
        """`cell` with its step loops wrapped. The name is that of `ast.NodeTransformer`'s method."""
        path, number = _running_cell(sys._getframe(1))
        if path is None or not isinstance(cell, ast.Module):
            return cell
        _name(path, number)
        as_it_was = copy.deepcopy(cell)
        try:
            return self._wrap(cell, as_it_was, path)
        except Exception as error:  # whatever goes wrong here, the cell must run
            self._on_failure("a notebook cell", error)
            return copy.deepcopy(as_it_was)

    def _wrap(self, cell: ast.Module, as_it_was: ast.Module, path: str) -> ast.Module:
        self._known |= self._index.closure(path, as_it_was)
        place = os.path.realpath(path)
        sites = Analysis(self._known | {place: cell}).sites(place, len(runtime.blocks) + 1)
        for site in sites:
            runtime.blocks[site.block.id] = site.block
        return transform(cell, sites) if sites or next_calls(cell) else cell


def _name(path: str, number: object) -> None:
    """Reports say ``In [3]``; excerpts find the lines under that name as long as this process lives."""
    name = cell_names[path] = f"In [{number}]"
    lines = linecache.getlines(path)
    linecache.cache[name] = (sum(map(len, lines)), None, lines, name)


def _running_cell(frame: FrameType | None) -> tuple[str | None, object]:
    """The file name under which IPython is about to compile the cell, and its number; it hands transformers the tree
    alone."""
    while frame is not None:
        if frame.f_code.co_name == "run_cell_async":
            name = frame.f_locals.get("cell_name")
            return name if isinstance(name, str) else None, frame.f_locals.get("execution_count", "*")
        frame = frame.f_back
    return None, "*"
