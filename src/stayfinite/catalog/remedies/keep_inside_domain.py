"""Keep the argument of an inverse function inside its domain.

What it changes
---------------
`acos(x)` becomes `acos(x.clamp(-1 + 1e-6, 1 - 1e-6))`, and likewise asin, atanh, acosh.

When it helps
-------------
A cosine of unit vectors may round to 1.0000001, and at exactly 1 the slope of acos is infinite.

What it may cost
----------------
Elements that are moved get no gradient. If more than rounding moves them, what made them is wrong.

Example
-------
::

    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.remedy import Scene, offered, place
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Within
from stayfinite.records.numbers import Number

TITLE = "Keep the argument inside its domain"
CURES = ("domain-error", "singular-gradient")
APPLICABILITY = "unsafe"
EXAMPLES = ()
NO_EXAMPLE = "its patch is held by tests of the text; no case of the gallery has been run with it yet"

_DOMAINS: dict[str, tuple[str, Number, Number]] = {
    "acos": ("clamp(-1 + 1e-6, 1 - 1e-6)", -1 + 1e-6, 1 - 1e-6), "asin": ("clamp(-1 + 1e-6, 1 - 1e-6)", -1 + 1e-6, 1 - 1e-6),
    "atanh": ("clamp(-1 + 1e-6, 1 - 1e-6)", -1 + 1e-6, 1 - 1e-6), "acosh": ("clamp(min=1 + 1e-6)", 1 + 1e-6, "+inf"),
    "erfinv": ("clamp(-1 + 1e-6, 1 - 1e-6)", -1 + 1e-6, 1 - 1e-6),
}
"""1e-6: some ten steps of float32 at 1, where the slope of acos is below 1000."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One way, where the origin is an inverse function with bounds."""
    if case.origin is None or case.origin.op not in _DOMAINS:
        return []
    scene = Scene(case, sources)
    source, seen = scene.source, scene.view
    text, low, high = _DOMAINS[case.origin.op]
    change = Within(place(case), 0, low=low, high=high)
    if source is None or seen is None or seen.first is None or seen.package == "math":
        return []
    return [offered(__name__, sources, [source.replace(seen.first, f"{source.operand(seen.first)}.{text}")], change)]
