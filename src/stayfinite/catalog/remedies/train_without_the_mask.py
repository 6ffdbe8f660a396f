"""Take the mask away, and cure what it hides.

What it changes
---------------
The clamp or nan_to_num at the origin is removed, and the failure behind it is cured where it is born.

When it helps
-------------
A loss that is finite and a gradient that is 0: what is clamped is not learned from.

What it may cost
----------------
The failure shows again, until it is cured.

Example
-------
::

    loss = error.square().mean()     # not error.square().clamp(max=LIMIT).mean()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Take the mask away"
CURES = ("masked-failure",)
APPLICABILITY = "display-only"
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "which failure comes next is not known beforehand"

SENTENCE = (
    "take the clamp or nan_to_num away and scale the data, so that what it hid is small enough without it"
)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A sentence."""
    return [offered(__name__, sources, None, says=SENTENCE)]
