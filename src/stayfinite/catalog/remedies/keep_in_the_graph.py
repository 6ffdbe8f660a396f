"""Keep a value in the graph of gradients.

What it changes
---------------
`.detach()`, `.data` or `torch.no_grad()` is taken off a value that the loss is computed from.

When it helps
-------------
The loss is finite and no parameter gets a gradient, because what the model gave was cut off from it, often with a
`requires_grad_()` behind that silences the error.

What it may cost
----------------
Nothing, unless the value was cut off on purpose (a target network, a teacher).

Example
-------
::

    errors = predicted - measured                    # was predicted.data - measured
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Joined

TITLE = "Keep it in the graph of gradients"
CURES = ("frozen-parameters",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("tidal-harmonics",)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """At the line where the graph was seen to be cut."""
    cuts = [one.change for one in pages.load("causes", "frozen-parameters").predict(case) if isinstance(one.change, Joined)]
    if not cuts:
        return []
    source = Project(sources).get(cuts[0].place.file)
    edits = _joined(source, cuts[0].place.line) if source is not None else []
    if not edits:
        return [offered(__name__, sources, None, cuts[0], says=f"{cuts[0].place.file}:{cuts[0].place.line} cuts the loss off from the "
                        "parameters: compute it there from tensors that still have a gradient")]
    return [offered(__name__, sources, edits, cuts[0])]


def _joined(source: Source, line: int) -> list[Edit | None]:
    """Edits that leave out what detaches on that line."""
    edits: list[Edit | None] = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.expr) or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        called = node.func if isinstance(node, ast.Call) and not node.args and not node.keywords else None
        if isinstance(called, ast.Attribute) and called.attr in ("detach", "detach_"):
            edits.append(source.replace(node, source.segment(called.value)))
        elif isinstance(node, ast.Attribute) and node.attr == "data" and isinstance(node.ctx, ast.Load):
            edits.append(source.replace(node, source.segment(node.value)))
    return edits[:1]
