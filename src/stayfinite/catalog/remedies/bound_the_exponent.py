"""Let an exponential go on along a straight line.

What it changes
---------------
Above 20 the argument of the exponential grows by the logarithm of what is above: `exp(z)` becomes
`exp(z.clamp(max=20) + (z - 20).clamp(min=0).log1p())`. The function is the exponential up to there, and beyond it its tangent. The
second way bends at 5.

When it helps
-------------
Nothing bounds a predicted logarithm, an energy or a score before training has begun to. One sample beyond 88 is an infinity in
float32. A clamp alone would make it finite and teach nothing there; a tangent has a slope everywhere.

What it may cost
----------------
Results above exp(20) = 5e8, or exp(5) = 148, are smaller than they were.

Example
-------
::

    rate = torch.exp(z.clamp(max=20) + (z - 20).clamp(min=0).log1p())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.views import named
from stayfinite.catalog.remedy import Scene, chosen, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Let the exponential go on along its tangent"
CURES = ("exp-overflow", "infinity-arithmetic", "half-precision-overflow", "naive-softmax-overflow")
APPLICABILITY = "unsafe"
ON_STEP = False
BREADTH = 1
EXAMPLES = ("pump-hours",)

BENDS = (20, 5)
"""exp(20) squared is 2e17: a loss and its gradient still are ordinary float32 numbers. exp(5) is what plain descent can bear."""
HALF_BENDS = (5, 2)


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Two ways, where the origin is an exponential of a tensor."""
    if case.origin is None or case.origin.op != "exp":
        return []
    scene = Scene(case, sources, named("exp", "expm1"))
    source, seen = scene.source, scene.view
    if source is None or seen is None or seen.first is None or seen.package in ("math", "numpy"):
        return []
    half = "float16" in {stats.dtype for stats in case.origin.inputs}
    return [
        offered(__name__, sources, chosen(source, seen.first, _bent(bend), "exponent"), says=f"{TITLE} above {bend}")
        for bend in (HALF_BENDS if half else BENDS)
    ]


def _bent(bend: int) -> str:
    """The argument as it is written then."""
    return f"{{x}}.clamp(max={bend}) + ({{x}} - {bend}).clamp(min=0).log1p()"
