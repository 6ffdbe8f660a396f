"""Load another checkpoint.

What it changes
---------------
The last checkpoint that is finite is loaded instead.

When it helps
-------------
A file that was damaged, cut off or rounded on its way cannot be repaired from the source.

What it may cost
----------------
The steps since then are lost.

Example
-------
::

    state = torch.load("epoch-11.pt")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Load another checkpoint"
CURES = ("corrupt-checkpoint",)
APPLICABILITY = "display-only"
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "what to do lies outside of the source"

SENTENCE = (
    "load the last checkpoint whose tensors are all finite, and check them as they are saved: a patch cannot bring "
    "back what was lost"
)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A sentence."""
    return [offered(__name__, sources, None, says=SENTENCE)]
