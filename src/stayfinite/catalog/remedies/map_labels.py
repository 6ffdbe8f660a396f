"""Map labels to 0 .. classes - 1.

What it changes
---------------
Labels are mapped to the numbers of the outputs, or the network gets an output for each of them.

When it helps
-------------
A label that no output stands for: a class that was added later, a mark for unknown, counting from 1.

What it may cost
----------------
Which of the two is meant, only the data can say.

Example
-------
::

    labels = torch.tensor([index[name] for name in names])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.numbers import show

TITLE = "Map labels to the outputs there are"
CURES = ("label-out-of-range",)
APPLICABILITY = "display-only"
ON_STEP = False
EXAMPLES = ()
NO_EXAMPLE = "what to do lies outside of the source"

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A sentence with the labels that were seen."""
    labels = next((one for one in (case.origin.inputs if case.origin is not None else ()) if "int" in one.dtype), None)
    seen = f" Labels from {show(labels.min)} to {show(labels.max)} were given." if labels is not None else ""
    return [offered(__name__, sources, None, says=f"map the labels to 0 .. classes - 1, or give the network an output for each: which is "
                    f"meant cannot be told from the source.{seen}")]
