"""Raise an epsilon that is lost in the format.

What it changes
---------------
An `eps` that is 0, or smaller than the format can hold beside the numbers it is added to, becomes one that counts: 1e-5 in a
normalisation, 1e-4 in an optimizer with half-precision state, 1e-3 for the length of vectors that begin at 0.

When it helps
-------------
In float16 everything below 6e-8 is 0, so 1e-8 does nothing; a normalisation with eps=0 divides a constant channel by 0.

What it may cost
----------------
Numbers of the size of epsilon are scaled less than before. In an optimizer, steps for tiny gradients get smaller.

Example
-------
::

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)     # parameters in float16
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.seeking import calls
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Update

TITLE = "Raise an epsilon that is lost"
CURES = (
    "lost-epsilon", "optimizer-arithmetic", "degenerate-batch-statistics", "zero-norm-vector", "half-precision-overflow",
)
APPLICABILITY = "unsafe"
BREADTH = 1
EXAMPLES = ("flat-channel",)

_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "BatchNorm1d", "BatchNorm2d", "LayerNorm", "GroupNorm",
          "InstanceNorm1d", "InstanceNorm2d", "RMSNorm", "rms_norm")
_OPTIMIZERS = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta")


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """One for the optimizer in half precision; one for a normalisation or a unit length at the origin."""
    project = Project(sources)
    offers: list[Remedy] = []
    origin = case.origin
    if origin is not None and origin.phase == "optimizer":
        for info in case.configuration.optimizers:
            source = project.get(info.location.file)
            found = calls(source, info.location.line, *_OPTIMIZERS) if source is not None else []
            if source is not None and len(found) == 1:
                offers.append(offered(__name__, sources, [source.set_keyword(found[0], "eps", "1e-4")], Update(options=(("eps", 1e-4),)),
                                      says="Give the optimizer an epsilon that its format can hold"))
    source = project.get(origin.location.file) if origin is not None else None
    if origin is None or source is None:
        return offers
    for call in calls(source, origin.location.line, *_NORMS, "normalize"):
        new = "1e-3" if _called(source, call) == "normalize" else "1e-5"
        given = next((one.value for one in call.keywords if one.arg == "eps"), None)
        value = number(given)
        if given is None and new == "1e-5":
            continue
        if value is None or value < float(new):
            offers.append(offered(__name__, sources, [source.set_keyword(call, "eps", new)], says=f"Raise eps to {new}"))
    return offers


def _called(source: Source, call: ast.Call) -> str:
    return source.segment(call.func).rpartition(".")[2]
