"""The small number that should prevent a division by zero is 0 in this format.

What happens
------------
The smallest positive float16 is 6e-8: an epsilon of 1e-8 rounds to 0, and the division it guards is 0 / 0 or x / 0.
Adam's default epsilon is 1e-8: with parameters in float16, a gradient of exactly 0 gives NaN weights, a tiny one
infinite ones.

How to recognise it
-------------------
The computation is in float16, the origin is a division, root or logarithm (or the optimizer), and the epsilon that
stands there is below half of the format's smallest number.

What to do
----------
Compute in float32 there; or use an epsilon of 1e-4 (float16: at least 6e-8, better above 1e-7 squared where it goes
under a root). For optimizers keep parameters in float32.

Example
-------
::

    optimizer = torch.optim.Adam(half_model.parameters())         # eps=1e-8
    optimizer = torch.optim.Adam(half_model.parameters(), eps=1e-4)

References
----------
google-deepmind/optax#1754, google-deepmind/optax#1789, chainer/chainer#6299, afiaka87/glide-finetune#6,
CambioML/pykoi#69, NVIDIA/apex#240, FluxML/Optimisers.jl#167, tensorflow/tensorflow#2288
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import divides_by_zero, inputs, kind, optimizer_location, origin_location, phase
from stayfinite.catalog.operator_predictions import at, inside_domain
from stayfinite.catalog.precision import lost_epsilon, narrowest
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Precision, Prediction, Update, Within
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

_GUARDED = frozenset({"div", "reciprocal", "log", "sqrt", "rsqrt", "pow", "normalize", "cosine_similarity", "norm"})

HELD = 1e-3
"""An epsilon that float16 holds with all of its digits, and that is small beside a square root of an ordinary moment."""

TITLE = "Epsilon lost in the format"
PRIOR = prior(threads=9)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("lost-epsilon", "small-gradient-adam")


def evidence(case: Case) -> list[Evidence]:
    """The epsilons that stand at the origin or in the optimizer, against the smallest number of the format."""
    narrow = narrowest(case)
    if narrow is None:
        return [Evidence("the format of the origin is not known", -6.0, "epsilon")]
    lost = lost_epsilon(case)
    if lost is None:
        return [Evidence(f"no epsilon is below the smallest number of {narrow.name}", -9.0, "epsilon")]
    smallest = show(narrow.smallest)
    found = [Evidence(f"an epsilon of {show(lost)} is 0 in {narrow.name}, whose smallest number is {smallest}", 8.0,
                      "epsilon")]
    if phase(case) == "optimizer":
        found.append(Evidence("the gradients were finite, the update was not", 3.0, "phase"))
    elif kind(case).name in _GUARDED:
        found.append(Evidence(f"the origin is {kind(case).name}, which the epsilon should guard", 2.0, "phase"))
    else:
        found.append(Evidence(f"{kind(case).name} needs no epsilon", -5.0, "phase"))
    if any(stats.nonfinite for stats in inputs(case)):
        found.append(Evidence("its input was not finite before", -5.0, "operand-value"))
    return found


def locate(case: Case) -> Location:
    """Where the optimizer was constructed, or the operation that the epsilon should guard."""
    return optimizer_location(case) if phase(case) == "optimizer" else origin_location(case)


def predict(case: Case) -> list[Prediction]:
    """With an epsilon that the format can hold, or the line in float32, the step passes; a smaller rate does not help. Where float32
    gives slopes that the format cannot hold again, what the epsilon should guard is kept inside its domain instead."""
    if phase(case) == "optimizer":
        line = at("div", origin_location(case)) if divides_by_zero(case) else None
        inside = [Prediction(Within(line, 1, away=HELD))] if line is not None else []  # the formula of an optimizer of the script's own
        return [*inside, Prediction(Update(options=(("eps", HELD),)), placebo=Update(rate=0.1))]
    here = at("", origin_location(case))
    return [Prediction(Precision("float32", here)), *inside_domain(case)] if here is not None else []
