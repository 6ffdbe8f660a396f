"""Let a mean over nothing be 0.

What it changes
---------------
A mean over a selection becomes its sum divided by the count, the count at least 1. A loss over labels of which all may be
ignored is summed and divided by the number of those that count, at least 1.

When it helps
-------------
All labels of a batch are ignored, a mask selects nothing, a class is absent: 0 / 0.

What it may cost
----------------
Nothing where there is something to average. A batch without anything to learn from has the loss 0.

Example
-------
::

    loss = F.cross_entropy(z, y, reduction="sum") / (y != -100).sum().clamp(min=1)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import node_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.views import View, named, number, view
from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Stable

TITLE = "Let a mean over nothing be 0"
CURES = ("empty-reduction", "empty-pooling-window", "division-by-zero")
APPLICABILITY = "safe"
SAME_FUNCTION = True
UNUSED_ELEMENTS = True
EXAMPLES = ("parts-boxes", "unlabelled-batch")

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin is a mean or a loss that averages."""
    if case.origin is None:
        return []
    if case.origin.op not in ("mean", "nll_loss", "cross_entropy"):
        return _nothing_given(case, sources)
    scene = Scene(case, sources, named("mean", "cross_entropy", "nll_loss"))
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None:
        return []
    form = Stable(place(case), "mean-over-some")
    edits = _mean(source, seen) if seen.name == "mean" else _loss(source, seen)
    return [offered(__name__, sources, edits, form)] if edits is not None else []


def _nothing_given(case: Case, sources: Mapping[str, str]) -> list[Remedy]:
    """For any other loss that is given no elements: it is computed where there are some, and else is a sum over none."""
    scene = Scene(case, sources)
    source, origin = scene.source, case.origin
    if source is None or origin is None or not origin.inputs or origin.inputs[0].size:
        return []
    call = node_at(source, scene.at)
    given = call.args[0] if isinstance(call, ast.Call) and call.args else None
    if call is None or given is None or any(isinstance(one, (ast.Call, ast.Starred)) for one in ast.walk(given)):
        return []
    some = source.operand(given)
    edit = source.replace(call, f"({source.segment(call)} if {some}.numel() else {some}.sum())")
    return [offered(__name__, sources, [edit], Stable(place(case), "mean-over-some"))]


def _mean(source: Source, seen: View) -> list[Edit | None] | None:
    first = seen.first
    assert first is not None
    if seen.spelled != "method":
        return None
    if len(seen.operands) > 1 or seen.options:
        return _mean_along(source, seen, first)
    if isinstance(first, ast.Name):
        count = f"max({first.id}.numel(), 1)"
        return [source.replace(seen.node, f"({first.id}.sum() / {count})")]
    name = source.fresh(first, "chosen", "selection")
    text = source.segment(first)
    return [source.replace(seen.node, f"(({name} := {text}).sum() / max({name}.numel(), 1))")]


def _mean_along(source: Source, seen: View, first: ast.expr) -> list[Edit | None] | None:
    """``x.mean(1)``: a sum over a count that is at least 1, for one dimension that stands there as a number."""
    dim = seen.option("dim", 1, "axis")
    if dim is None or number(dim) is None or "dtype" in seen.options or not isinstance(seen.node, ast.Call):
        return None
    name = first.id if isinstance(first, ast.Name) else source.fresh(first, "chosen", "selection")
    head = name if isinstance(first, ast.Name) else f"({name} := {source.segment(first)})"
    given = ", ".join([*map(source.segment, seen.node.args), *(f"{one.arg}={source.segment(one.value)}" for one in seen.node.keywords)])
    return [source.replace(seen.node, f"({head}.sum({given}) / max({name}.shape[{source.segment(dim)}], 1))")]


def _loss(source: Source, seen: View) -> list[Edit | None] | None:
    target = seen.option("target", 1)
    if target is None or "weight" in seen.options or seen.spelled != "function" or "reduction" in seen.options:
        return None
    if not isinstance(seen.node, ast.Call) or view(source, seen.node) is None:
        return None
    ignored = seen.options.get("ignore_index")
    index = source.segment(ignored) if ignored is not None else "-100"
    text = source.segment(seen.node)
    count = f"({source.operand(target)} != {index}).sum().clamp(min=1)"
    return [source.replace(seen.node, f'({text[:-1].rstrip().rstrip(",")}, reduction="sum") / {count})')]
