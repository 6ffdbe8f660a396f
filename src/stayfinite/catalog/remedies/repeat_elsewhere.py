"""Repeat the run on other hardware.

What it changes
---------------
Nothing in the source: the same script is run on another machine, with a memory test.

When it helps
-------------
The same step, repeated with equal inputs, came out differently: a race, or memory that lost a bit.

What it may cost
----------------
Time.

Example
-------
::

    stayfinite replay DIR
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Repeat the run on other hardware"
CURES = ("transient-fault",)
APPLICABILITY = "display-only"
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "what to do lies outside of the source"

SENTENCE = (
    "run it again, on another machine if you can: nothing in the source makes a step come out differently when it "
    "is repeated"
)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A sentence."""
    return [offered(__name__, sources, None, says=SENTENCE)]
