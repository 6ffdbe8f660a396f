"""Compute a variance from the deviations.

What it changes
---------------
The mean of squares minus the square of the mean becomes the mean of the squared deviations: `(x ** 2).mean(0) - m ** 2` becomes
`x.var(0, correction=0)`, a weighted mean of `x ** 2` one of `(x - m) ** 2`. Where both means run along from step to step, the squares
that are averaged become squares of deviations from the running mean, and their mean is the variance. Where both are averages over
neighbours (a pooling, a window), each place has a mean of its own: there both are computed in float64, and 1e-6 is added.

When it helps
-------------
Both numbers are large and alike where the mean is far from 0, and their difference is what rounding left of it: below 0 as often as
above. A sum of squares is never below 0.

What it may cost
----------------
Nothing but the time of float64 for averages over neighbours: it is the same number, with more digits. Numbers that are all alike have
a variance of exactly 0 then: the second way adds 1e-6, for what divides by it. A running variance takes deviations from the mean as far
as it is known, and is a little larger at first.

Example
-------
::

    variance = x.var(dim=1, keepdim=True, correction=0)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog.edits.moments import root_of_square, running_deviations
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import rebound
from stayfinite.catalog.edits.views import number, view
from stayfinite.catalog.remedy import Scene, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Compute the variance from the deviations"
CURES = ("nonpositive-variance", "domain-error", "singular-gradient", "division-by-zero", "log-of-zero", "degenerate-normalization")
APPLICABILITY = "safe"
ON_STEP = False
EXAMPLES = ("barometer-windows", "intensity-texture", "running-returns")

EPSILON = "1e-6"


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Two ways, where what the failing line is given is a mean of squares minus a square; one where these are moving averages."""
    scene = Scene(case, sources)
    source = scene.source
    if source is None:
        return []
    here = (
        node for node in ast.walk(source.tree)
        if isinstance(node, ast.expr) and node.lineno <= scene.at.line <= (node.end_lineno or 0)
    )
    for home, difference in _differences(scene, source, here):
        wide = _moving(scene, home, difference)
        if wide:
            return [offered(__name__, sources, [home.replace(difference, wide)], applicability="unsafe",  # a variance of 1e-6 is doubled
                            says="Compute the variance from averages in float64", cost=f"every variance is larger by {EPSILON}")]
        found = _spread(scene, home, difference)
        if found:
            return [offered(__name__, sources, [home.replace(difference, made)]) for made in (found, f"({found} + {EPSILON})")]
        running = running_deviations(home, difference)
        if running is not None:
            variance, edits = running
            ways = (variance, f"({variance} + {EPSILON})")
            return [offered(__name__, sources, [home.replace(difference, made), *edits], applicability="unsafe",
                            says="Average the squares of the deviations from the running mean",
                            cost="the deviations are from the mean as far as it is known: a little larger at first") for made in ways]
    return []


def _differences(scene: Scene, source: Source, nodes: Iterator[ast.expr]) -> Iterator[tuple[Source, ast.BinOp]]:
    for node in nodes:
        for made in scene.project.made(source, node) if isinstance(node, ast.Name) else ():
            yield from ((made.source, one) for one in ast.walk(made.value) if _is_difference(one))  # type: ignore[misc]
        if _is_difference(node):
            yield source, node  # type: ignore[misc]
        known = scene.project.defined(source, node) if isinstance(node, ast.Call) else None
        for returned in ast.walk(known[1]) if known is not None else ():
            value = returned.value if isinstance(returned, ast.Return) else None
            yield from ((known[0], one) for one in ast.walk(value) if _is_difference(one)) if known and value is not None else ()  # type: ignore[misc]


def _is_difference(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)


def _spread(scene: Scene, source: Source, difference: ast.BinOp) -> str:
    """How the variance is written that `difference` stands for; empty if it is none."""
    mean = root_of_square(source, _made(scene, source, difference.right))
    squares = _made(scene, source, difference.left)
    if mean is None:
        return ""
    inner = [(one, root) for one in ast.walk(squares) if isinstance(one, ast.expr) and (root := root_of_square(source, one)) is not None]
    if len(inner) != 1:
        return ""
    square, value = inner[0]
    if source.segment(value) not in source.segment(_made(scene, source, mean)):
        return ""  # the square of something else than the mean of these numbers
    averaged = view(source, squares)
    if averaged is not None and averaged.name == "mean" and averaged.first is square and isinstance(squares, ast.Call):
        given = [source.segment(one) for one in averaged.operands[1:]]
        given += [f"{name}={source.segment(one)}" for name, one in averaged.options.items() if name not in ("input", "dtype")]
        return f"{source.operand(value)}.var({', '.join([*given, 'correction=0'])})"
    summed = averaged is not None and averaged.name in ("mean", "sum")
    if not isinstance(difference.left, ast.BinOp) and not (summed and isinstance(difference.left, ast.Call)):
        return ""  # another function may average over neighbours: each place has a mean of its own
    middle = source.operand(mean)
    reduced = next((seen for one in ast.walk(squares) if (seen := view(source, one)) is not None and seen.name in ("mean", "sum")
                    and any(part is square for part in ast.walk(one))), None)
    if reduced is not None:  # a mean that lost the dimension it was taken over needs it back
        over, kept = reduced.option("dim", 1, "axis"), reduced.option("keepdim", 2, "keepdims")
        if over is not None and (number(over) is None or (kept is not None and source.segment(kept) != "True")):
            return ""
        middle += f".unsqueeze({source.segment(over)})" if over is not None and kept is None else ""
    deviations = f"({source.operand(value)} - {middle}) ** 2"
    chained = isinstance(source.parents.get(square), ast.Attribute)  # `x.pow(2).sum(1)`: the sum is of the whole square
    return source.spliced(difference.left, square, f"({deviations})" if chained else deviations)


def _moving(scene: Scene, source: Source, difference: ast.BinOp) -> str:
    """The variance in float64 where one function averages the squares and the numbers, each place over its neighbours: ``pool(x * x) -
    pool(x) ** 2``; empty where it is something else, or a name in it was given another value meanwhile."""
    root = root_of_square(source, _made(scene, source, difference.right))
    squares, means = _made(scene, source, difference.left), _made(scene, source, root) if root is not None else None
    if not isinstance(squares, ast.Call) or not isinstance(means, ast.Call) or not squares.args or not means.args:
        return ""
    seen, value = view(source, squares), root_of_square(source, squares.args[0])
    if value is None or (seen is not None and seen.name in ("mean", "sum")):
        return ""
    same = [ast.dump(one) for one in (squares.func, value, *squares.args[1:], *squares.keywords)] \
        == [ast.dump(one) for one in (means.func, *means.args, *means.keywords)]
    if not same or rebound(source, squares, min(squares.lineno, means.lineno), difference):
        return ""
    weighed = seen is not None and seen.name.startswith("conv")
    rest = [f"{source.operand(one)}.double()" if weighed and place == 0 else source.argument(one)
            for place, one in enumerate(squares.args[1:])]
    rest += [f"{one.arg}={source.segment(one.value)}" if one.arg else f"**{source.segment(one.value)}" for one in squares.keywords]
    called, plain = source.segment(squares.func), source.operand(value)
    behind = "".join(f", {one}" for one in rest)
    return (f"({called}({plain}.double() ** 2{behind}) - {called}({plain}.double(){behind}) ** 2 + {EPSILON})"
            f".to({plain}.dtype)")


def _made(scene: Scene, source: Source, node: ast.expr) -> ast.expr:
    """`node`, or what the name that it is was given in this file: the last of these that is more than a name."""
    known = [made.value for made in scene.project.made(source, node) if made.source is source]
    return next((one for one in known if not isinstance(one, ast.Name)), node)
