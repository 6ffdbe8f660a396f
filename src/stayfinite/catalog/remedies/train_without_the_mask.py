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

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog import pages
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import view
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.fix import Edit
from stayfinite.records.incident import Case

TITLE = "Take the mask away"
CURES = ("masked-failure",)
OTHER_LOSS = True
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("freight-cost",)

SENTENCE = (
    "take the clamp or nan_to_num away and scale the data, so that what it hid is small enough without it"
)
MOST = 3
"""Ways that are offered: alone, and with data scaled at one place or another."""
_MASKS = frozenset({"clamp", "clip", "clamp_max", "clamp_min", "nan_to_num", "minimum", "maximum", "hardtanh"})


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """The guard that hides most, taken off what it guards."""
    at = pages.load("causes", "masked-failure").locate(case)
    source = Project(sources).get(at.file)
    edits: list[Edit | None] = []
    for node in ast.walk(source.tree) if source is not None else ():
        seen = view(source, node) if source is not None and isinstance(node, ast.Call) and node.lineno == at.line else None
        if source is not None and seen is not None and seen.name in _MASKS and seen.first is not None:
            edits.append(source.replace(seen.node, source.operand(seen.first)))
    if len(edits) != 1:
        return [offered(__name__, sources, None, says=SENTENCE)]
    offers = [offered(__name__, sources, edits, cost="what it hid is seen again: it may need scaled data too")]
    for name in ("standardise-targets", "standardise-inputs"):
        for scaled in pages.load("remedies", name).propose(case, sources):
            if scaled.fix is not None and len(offers) < MOST:
                says = f"Take the mask away, and {scaled.title[:1].lower()}{scaled.title[1:]}"
                offers.append(offered(__name__, sources, [*edits, *scaled.fix.edits], says=says))
    return offers
