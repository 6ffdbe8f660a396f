"""Use the plain code instead of a kernel or a derivative of one's own.

What it changes
---------------
The function is used without compiling it, or the derivative that is written by hand is left to automatic differentiation.

When it helps
-------------
A fused kernel or a backward pass of one's own computes something that the plain code does not.

What it may cost
----------------
It is slower.

Example
-------
::

    model.attend = model.attend     # not torch.compile(...)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Backend

TITLE = "Use the plain code"
CURES = ("compiler-or-kernel-fault",)
APPLICABILITY = "display-only"
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "what a kernel of one's own was written for is not in the source"

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A sentence, and what is done to a running training."""
    written = next((one.name for one in case.trace.functions), "")
    what = f"the backward part of {written}" if written else "the compiled or fused part"
    return [offered(__name__, sources, None, Backend("eager"), says=f"leave {what} to plain code and automatic differentiation: that is "
                    "finite where it is tried; what was meant by it is not in the source")]
