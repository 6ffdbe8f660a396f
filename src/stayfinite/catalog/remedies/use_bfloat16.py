"""Use bfloat16 instead of float16.

What it changes
---------------
The conversion to float16 becomes one to bfloat16: where a model is converted, an autocast is entered, or a state is saved. Weights
that are handed to numpy, which has no bfloat16, are converted to float32 there.

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

from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.formats import conversions, widened_for_numpy
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
    """Everywhere in the files of the user's that a conversion to float16 stands; what goes on to numpy is converted before."""
    project = Project(sources)
    edits: list[Edit | None] = [edit for source in project.sources.values() for edit in conversions(source, "bfloat16", "float16")]
    if not edits:
        return []
    edits += [edit for source in project.sources.values() for edit in widened_for_numpy(project, source)]
    return [offered(__name__, sources, edits, cost="two to three digits instead of three to four")]
