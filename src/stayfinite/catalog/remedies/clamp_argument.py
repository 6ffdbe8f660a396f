"""Clamp the argument of a logarithm or root: a mask, shown because everybody suggests it.

What it changes
---------------
`log(p)` becomes `log(p.clamp(min=1e-8))`.

When it helps
-------------
It makes the loss finite. It does not make the network learn: an element that is clamped gets no gradient, and it is exactly the
one that is most wrong.

What it may cost
----------------
The elements that matter most stop counting, silently. It is tried like every other remedy, and refused wherever it turns out
so.

Example
-------
::

    loss = -torch.log(p.clamp(min=1e-8)).mean()     # do not
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Within

TITLE = "Clamp the argument"
CURES = ("log-of-zero", "singular-gradient", "domain-error", "nonpositive-variance", "division-by-zero")
APPLICABILITY = "unsafe"
BREADTH = 3
EXAMPLES = ()
NO_EXAMPLE = "it cures nothing; its tests show that it is refused"

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin is a logarithm or a root."""
    if case.origin is None or case.origin.op not in ("log", "sqrt"):
        return []
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None or seen.package == "math":
        return []
    edits = [source.replace(seen.first, f"{source.operand(seen.first)}.clamp(min=1e-8)")]
    return [offered(__name__, sources, edits, Within(place(case), 0, low=1e-8))]
