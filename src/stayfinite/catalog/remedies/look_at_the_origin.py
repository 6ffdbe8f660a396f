"""Look at the origin.

What it changes
---------------
Nothing yet: the cause is not known.

When it helps
-------------
None of the known causes explains the failure well.

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

TITLE = "Look at the origin"
CURES = ("unknown",)
APPLICABILITY = "display-only"
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "it is no cure"

SENTENCE = (
    "no remedy is known for a cause that is not: begin at the operation where the first bad number was born, and "
    "compute it in float64"
)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A sentence."""
    return [offered(__name__, sources, None, says=SENTENCE)]
