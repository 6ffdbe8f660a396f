"""Leave the loss as it is.

What it changes
---------------
The number by which the script multiplies its loss becomes 1, wherever it is used; what divides by it divides by 1.

When it helps
-------------
A loss is scaled by hand, and the gradients of one of the optimizers, of one branch or of the last window are not divided again.

What it may cost
----------------
In float16, gradients below 6e-8 are rounded to 0; a gradient scaler finds the scale that they need.

Example
-------
::

    SCALE = 1.0                                                   # was 2.0**13
    (loss * SCALE).backward()
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence

from stayfinite.catalog.edits.factors import not_divided, scale_of_loss, written
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Leave the loss unscaled"
CURES = ("loss-scale-misuse",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("half-divided",)

SENTENCE = "the loss is multiplied by hand: divide all gradients by the same number before the update, or use torch.amp.GradScaler"


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where the factor that was seen stands once as a number, or only as a factor and a divisor, or is what the loss is multiplied
    with and divided by where it is differentiated."""
    factor = not_divided(case)
    if factor is None:
        return []
    project = Project(sources)
    found = [(source, one) for source in project.sources.values() for one in _written(source, factor)]
    alike = all(_scales(source, one) for source, one in found)
    if not found or (len(found) > 1 and not alike):
        found = list({one.node: (one.source, one.node) for one in scale_of_loss(project, factor)}.values())
    if not found:
        return [offered(__name__, sources, None, says=SENTENCE)]
    return [offered(__name__, sources, [source.replace(one, "1.0") for source, one in found],
                    says=f"Leave the loss unscaled: its factor becomes 1 instead of {factor:g}",
                    cost="small gradients of float16 are rounded to 0")]


def _written(source: Source, factor: float) -> Iterator[ast.expr]:
    """The outermost numbers of that value, powers of plain numbers included."""
    inside: set[ast.AST] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.expr) and node not in inside and (value := written(node)) is not None:
            inside |= set(ast.walk(node))
            if math.isclose(value, factor, rel_tol=1e-6):
                yield node


def _scales(source: Source, node: ast.expr) -> bool:
    """True for a factor or a divisor."""
    above = source.parents.get(node)
    return isinstance(above, (ast.BinOp, ast.AugAssign)) and isinstance(above.op, (ast.Mult, ast.Div))
