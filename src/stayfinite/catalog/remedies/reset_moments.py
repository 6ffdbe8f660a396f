"""Begin with fresh moments of the optimizer.

What it changes
---------------
The state of the optimizer is not loaded, or the moments that are not finite are set to 0.

When it helps
-------------
A stored state was rounded to a format that could not hold it, or was damaged.

What it may cost
----------------
The optimizer takes some steps to find its averages again; a short warm-up helps.

Example
-------
::

    optimizer.state.clear()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import State

TITLE = "Begin with fresh moments"
CURES = ("corrupt-optimizer-state",)
APPLICABILITY = "display-only"
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "what to do lies outside of the source"

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """What is done to a running training; in the source, a sentence."""
    return [offered(__name__, sources, None, State("moments", "mended"), says="do not load the state of the optimizer, or store it in the "
                    "format it is computed in: its moments are made anew within some steps")]
