"""Count what lies beyond the last bin in the last one.

What it changes
---------------
The number of a bin that is computed from a measurement ends at the last bin there is: `(time / width).long()` becomes
`(time / width).long().clamp(max=11)`. What lies before the first bin counts in the first, where such a number was seen.

When it helps
-------------
Bins are made of a range that was chosen beforehand: intervals of follow-up, classes of age, levels of brightness. A measurement that
reaches the upper border or passes it has a number for which there is no class.

What it may cost
----------------
The last bin has no upper border then. If a measurement is far outside of the range, ask where it comes from first.

Example
-------
::

    level = torch.bucketize(brightness, borders).clamp(max=classes - 1)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog import places
from stayfinite.catalog.clues import finite
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.edits.seeking import called, statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tables import made_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import location, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Count what lies beyond the last bin in the last one"
CURES = ("label-out-of-range",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("survival-intervals",)

_WHOLE = frozenset({"long", "int", "to", "type", "astype"})
"""Methods that make whole numbers of a tensor or an array, `to` where it is told so."""
_SEARCHES = frozenset({"bucketize", "searchsorted", "digitize"})


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the numbers that were too large are made of measurements at one place that is known."""
    project, bounds = Project(sources), _bounds(case)
    if bounds is None:
        return []
    low, last = bounds
    found = {node: source for source, node in _made_of_measurements(case, project)}
    if len(found) != 1:
        return []
    (node, source), = found.items()
    text = source.operand(node)
    if _is_plain(node):
        new = f"max(min({source.segment(node)}, {last}), 0)" if low < 0 else f"min({source.segment(node)}, {last})"
    else:
        new = f"{text}.{'clip' if _is_numpy(source, node) else 'clamp'}({'0, ' if low < 0 else 'max='}{last})"
    return [offered(__name__, sources, [source.replace(node, new)], says=f"Count what lies beyond bin {last} in bin {last}")]


def _bounds(case: Case) -> tuple[float, int] | None:
    """The smallest number of a bin that was seen, and the last bin there is, where one was beyond that."""
    origin = case.origin
    given = origin.inputs if origin is not None else ()
    table = next((one for one in given if dtype_facts(one.dtype) is not None and one.shape), None)
    numbers = [one for one in given if "int" in one.dtype]
    if origin is None or table is None:
        return None
    indexes = origin.op == "index" and "gather" not in origin.native_op and "scatter" not in origin.native_op
    for place, one in enumerate(numbers):
        low, high = finite(one.min), finite(one.max)
        dimension = place if indexes else 0 if origin.op == "embedding" or len(table.shape) < 2 else 1
        if low is not None and high is not None and dimension < len(table.shape) and max(high, -low - 1) >= table.shape[dimension]:
            return low, table.shape[dimension] - 1
    return None


def _made_of_measurements(case: Case, project: Project) -> Iterator[tuple[Source, ast.expr]]:
    """The bins that the failing line reads; else those that are computed where its numbers were made."""
    at = location(case)
    source = project.get(at.file)
    statement = statement_at(source, at.line) if source is not None else None
    here = []
    if source is not None and statement is not None:
        for one in ast.walk(statement):
            if isinstance(one, ast.expr) and _is_binning(project, source, one):
                here.append((source, one))
            elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
                here += [(made.source, made.value) for made in project.made(source, one)
                         if made.value is not one and _is_binning(project, made.source, made.value)]
    yield from here or _where_data_is_made(case, project)


def _where_data_is_made(case: Case, project: Project) -> Iterator[tuple[Source, ast.expr]]:
    """Bins that the lines compute which made the numbers; else those of the items of a data set."""
    names = [one.name for one in (*(case.origin.inputs if case.origin is not None else ()), *case.batch) if "int" in one.dtype]
    making = [place for name in names for place in (places.labels(case, name), *made_at(case, name)) if place is not None]
    lines = [(source, statement_at(source, place.line)) for place in dict.fromkeys(making) if (source := project.get(place.file))]
    items = [(source, one) for source in project.sources.values() for one in ast.walk(source.tree)
             if isinstance(one, ast.FunctionDef) and one.name == "__getitem__"]
    for nodes in (lines, items):
        found = [(source, one) for source, node in nodes if node is not None for one in ast.walk(node)
                 if isinstance(one, ast.expr) and _is_binning(project, source, one)]
        yield from found
        if found:
            return


def _is_binning(project: Project, source: Source, node: ast.expr) -> bool:
    """True for a search among borders, and for a quotient or a product that is made a whole number."""
    name = called(node)
    if not isinstance(node, ast.Call):
        return False
    if name in _SEARCHES:
        return not _is_whole(source, source.parents.get(source.parents.get(node, node), node))
    if _is_plain(node):
        return any(_is_scaled(made.value) for made in project.made(source, node.args[0]))
    if not _is_whole(source, node) or not isinstance(node.func, ast.Attribute):
        return False
    inner = node.func.value
    if called(inner) in _SEARCHES:
        return True
    return any(_is_scaled(made.value) for made in project.made(source, inner))


def _is_plain(node: ast.AST) -> bool:
    """True for ``int(x)``, a single number."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "int" and len(node.args) == 1


def _is_whole(source: Source, node: ast.AST) -> bool:
    """True for a call of a method that makes whole numbers."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or called(node) not in _WHOLE:
        return False
    told = "".join(source.segment(one) for one in node.args)
    return called(node) in ("long", "int") or "int" in told or "long" in told


def _is_scaled(node: ast.AST) -> bool:
    """True for ``x / width``, ``x * bins``, ``x // width``, also rounded, of a tensor or of the package."""
    while isinstance(node, ast.Call) and called(node) in ("floor", "ceil", "round", "trunc", "floor_", "round_"):
        node = node.func.value if isinstance(node.func, ast.Attribute) and not node.args else node.args[0]
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.FloorDiv, ast.Mult))


def _is_numpy(source: Source, node: ast.expr) -> bool:
    """True for what its spelling says is an array."""
    inner = [node, *([node.func.value] if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else [])]
    return called(node) == "astype" or any(isinstance(one, ast.Call) and source.qualified(one.func).startswith("numpy.") for one in inner)
