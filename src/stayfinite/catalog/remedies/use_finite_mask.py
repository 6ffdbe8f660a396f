"""Mask with a large negative number instead of minus infinity.

What it changes
---------------
`-inf` as the filler of a mask becomes -1e4: what is masked has a softmax of exactly 0 all the same. Where a cross-entropy smooths its
labels, they are left as they are instead: a masked class has a share of a smoothed label, and its logarithm is infinite.

When it helps
-------------
A row that is masked entirely, a difference of two masked entries, 0 times a masked one: with infinities each is NaN.

What it may cost
----------------
A row that is masked entirely has equal shares instead of none. Sums over masked entries count -1e4 each.

Example
-------
::

    scores = scores.masked_fill(mask, -1e4)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import every_call
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Mask with a large finite number"
CURES = ("infinity-arithmetic", "softmax-over-masked-row", "half-precision-overflow")
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("legal-moves-distillation", "next-job")

_INFINITE = ("math.inf", "torch.inf", "numpy.inf")


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Every minus infinity that the user's files write."""
    edits: list[Edit | None] = [
        source.replace(node, "-1e4") for source in Project(sources).sources.values() for node in ast.walk(source.tree)
        if isinstance(node, ast.expr) and _minus_infinity(source, node)
    ]
    return [*([offered(__name__, sources, edits)] if edits else ()), *_unsmoothed(sources)]


def _unsmoothed(sources: Mapping[str, str]) -> list[Remedy]:
    """Labels that are not smoothed: the share of a masked class in the loss is its infinite logarithm."""
    edits = [
        source.set_keyword(call, "label_smoothing", "0.0")
        for source, call in every_call(Project(sources), "cross_entropy", "CrossEntropyLoss")
        if any(one.arg == "label_smoothing" and not _is_zero(one.value) for one in call.keywords)
    ]
    says = "Do not smooth labels over classes that are masked"
    return [offered(__name__, sources, edits, says=says, cost="labels are hard again")] if edits else []


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def _minus_infinity(source: Source, node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return source.qualified(node.operand) in _INFINITE or _word(node.operand, "inf", "infinity")
    return _word(node, "-inf", "-infinity")


def _word(node: ast.expr, *words: str) -> bool:
    return (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float" and len(node.args) == 1
            and isinstance(node.args[0], ast.Constant) and str(node.args[0].value).lower() in words)
