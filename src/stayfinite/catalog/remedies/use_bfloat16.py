"""Use bfloat16 instead of float16.

What it changes
---------------
The conversion to float16 becomes one to bfloat16: where a model is converted, an autocast is entered, or a state is saved.

When it helps
-------------
float16 ends at 65504 and loses everything below 6e-8; bfloat16 has the range of float32.

What it may cost
----------------
Two to three digits instead of three to four. Older GPUs compute it slowly or not at all.

Example
-------
::

    model = model.bfloat16()     # not model.half()
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import called
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Use bfloat16 instead of float16"
CURES = (
    "half-precision-overflow", "half-precision-underflow", "lost-epsilon", "loss-scale-misuse", "corrupt-checkpoint",
    "corrupt-optimizer-state", "optimizer-arithmetic", "corrupt-buffer",
)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("corrupt-optimizer-state",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Everywhere in the files of the user's that a conversion to float16 stands."""
    edits: list[Edit | None] = [edit for source in Project(sources).sources.values() for edit in _conversions(source)]
    return [offered(__name__, sources, edits, cost="two to three digits instead of three to four")] if edits else []


def _conversions(source: Source) -> list[Edit]:
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and called(node) == "half" and not node.args and isinstance(node.func, ast.Attribute):
            func = node.func
            end, column = func.end_lineno or 0, func.end_col_offset or 0
            found.append(source.edit_span(end, column - len("half"), end, column, "bfloat16"))
        elif isinstance(node, ast.Attribute) and source.qualified(node) in ("torch.float16", "torch.half"):
            found.append(source.replace(node, source.segment(node.value) + ".bfloat16"))
    return found
