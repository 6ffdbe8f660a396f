"""Let a sequence that cannot be aligned count 0.

What it changes
---------------
The CTC loss is given `zero_infinity=True`.

When it helps
-------------
A target that is longer than its input, repeated labels counted twice, has no alignment: its loss is infinite and its gradient
NaN.

What it may cost
----------------
Such samples are not learned from, silently. Counting them, or leaving them out of the data, says more.

Example
-------
::

    ctc = nn.CTCLoss(zero_infinity=True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import calls, every_call
from stayfinite.catalog.remedy import Scene, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Let sequences that cannot be aligned count 0"
CURES = ("infeasible-ctc-target",)
APPLICABILITY = "unsafe"
UNUSED_ELEMENTS = True
EXAMPLES = ("morse-transcripts",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way: at the call of the loss, or where its module is built."""
    if case.origin is None or case.origin.op != "ctc_loss":
        return []
    scene = Scene(case, sources)
    if scene.source is None:
        return []
    found = [(scene.source, call) for call in calls(scene.source, scene.at.line, "ctc_loss")] or list(every_call(scene.project, "CTCLoss"))
    if len(found) != 1:
        return []
    source, call = found[0]
    return [offered(__name__, sources, [source.set_keyword(call, "zero_infinity", "True")],
                    cost="samples that cannot be aligned are not learned from")]
