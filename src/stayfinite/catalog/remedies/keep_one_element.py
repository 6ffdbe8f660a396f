"""Let a window have at least one element.

What it changes
---------------
The end of a slice is at least one past its beginning: `x[a:b]` becomes `x[a : max(b, a + 1)]`. The length of a `narrow` is at
least 1.

When it helps
-------------
Borders that are rounded to whole numbers can fall on each other. The mean over what lies between is 0 / 0, its maximum an error.

What it may cost
----------------
The window then has the element at its beginning, which lay outside of it. All other windows stay as they are.

Example
-------
::

    feature = frames[first : max(last, first + 1)].mean(dim=0)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import number
from stayfinite.catalog.remedy import Scene, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Let a window have at least one element"
CURES = ("empty-pooling-window", "empty-reduction", "single-element-variance")
APPLICABILITY = "safe"
ON_STEP = False
EXAMPLES = ("goal-moments", "parking-slots")


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Two ways, where what the failing line reduces is cut between two borders that are computed: there, or where it was made. The
    end moves, or, for a window that ends with what it is cut from, the beginning."""
    scene = Scene(case, sources)
    empty = [stats.made_at for stats in (case.origin.inputs if case.origin is not None else ()) if not stats.size]
    for place in (scene.at, *filter(None, empty)):
        source = scene.read(place.file)
        if source is None:
            continue
        nodes = [node for node in ast.walk(source.tree)
                 if isinstance(node, ast.expr) and node.lineno <= place.line <= (node.end_lineno or 0)]
        cuts = [cut for node in nodes for cut in _cuts(scene, source, node)]
        ways = [dict.fromkeys(edit for cut in cuts for edit in way(*cut)) for way in (_kept, _from_before)]
        if any(ways):
            return [offered(__name__, sources, edits) for edits in ways if edits]
    return []


def _cuts(scene: Scene, source: Source, node: ast.expr) -> Iterator[tuple[Source, ast.expr]]:
    """The windows that `node` is, that the name which it is was given, or that the user's function which it calls cuts."""
    if _is_cut(node):
        yield source, node
    elif isinstance(node, ast.Name):
        for made in scene.project.made(source, node):
            if made.value is not node:
                yield from ((made.source, one) for one in ast.walk(made.value) if isinstance(one, ast.expr) and _is_cut(one))
    elif isinstance(node, ast.Call) and (known := scene.project.defined(source, node)) is not None:
        home, function = known
        yield from ((home, one) for one in ast.walk(function) if isinstance(one, ast.expr) and _is_cut(one))


def _is_cut(node: ast.AST) -> bool:
    narrow = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "narrow"
    return narrow or (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load))


def _kept(source: Source, node: ast.expr) -> Iterator[Edit]:
    if isinstance(node, ast.Call):
        if len(node.args) == 3 and number(node.args[2]) is None:
            yield source.replace(node.args[2], f"max({source.argument(node.args[2])}, 1)")
        return
    for one in _borders(node):
        assert one.upper is not None
        least = "1" if one.lower is None else f"{source.operand(one.lower)} + 1"
        if one.lower is None or number(one.lower) is None:
            yield source.replace(one.upper, f"max({source.argument(one.upper)}, {least})")


def _from_before(source: Source, node: ast.expr) -> Iterator[Edit]:
    """The element before the window stands in for it."""
    for one in _borders(node):
        if one.lower is not None and one.upper is not None and number(one.lower) is None:
            yield source.replace(one.lower, f"min({source.argument(one.lower)}, {source.operand(one.upper)} - 1)")


def _borders(node: ast.expr) -> Iterator[ast.Slice]:
    """The parts ``begin:end`` of an index whose end is computed."""
    index = node.slice if isinstance(node, ast.Subscript) else None
    for one in index.elts if isinstance(index, ast.Tuple) else [index]:
        if isinstance(one, ast.Slice) and one.step is None and one.upper is not None and number(one.upper) is None:
            yield one
