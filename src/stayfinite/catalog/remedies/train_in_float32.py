"""Keep parameters and data in float32.

What it changes
---------------
The conversions of the model and of the data to half precision become conversions to float32. Autocasts stay: they keep parameters
and moments in float32 by themselves.

When it helps
-------------
Parameters in float16 have gradients and moments in float16: Adam's square of a gradient of 300 is infinite there, its epsilon of 1e-8
is 0, and updates below a thousandth of a weight are lost.

What it may cost
----------------
Twice the memory for parameters and data, and the speed of half precision: an autocast round the forward pass brings that back.

Example
-------
::

    model = Net()                                                 # not Net().half()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = criterion(model(x), y)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.formats import conversions
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Train in float32 instead of half precision"
CURES = ("optimizer-arithmetic", "lost-epsilon", "half-precision-overflow", "half-precision-underflow")
APPLICABILITY = "unsafe"
BREADTH = 2
ON_STEP = False
EXAMPLES = ("optimizer-arithmetic",)

HALF = ("float16", "bfloat16")


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where parameters are in half precision: everywhere that a conversion to their format stands."""
    narrow = [one for one in HALF if one in case.configuration.parameter_dtypes]
    edits: list[Edit | None] = [
        edit for source in Project(sources).sources.values() for edit in conversions(source, "float32", *narrow, autocast=False)
    ]
    return [offered(__name__, sources, edits, cost="twice the memory for parameters and data")] if edits else []
