"""The target is in raw units, and the loss squares it.

What happens
------------
A prediction of about 1 is compared with a target of 1e5 or 1e22: the squared error is its square, the gradient is
proportional to it. In float32 a difference of 1.8e19 already squares to infinity; smaller ones make the first updates
so large that the loss grows from step to step.

How to recognise it
-------------------
The target of the batch reaches thousands or more while the input does not, and the origin is the loss, a square of
the difference, or whatever overflowed after some steps of growth.

What to do
----------
Train on a standardised target (subtract the mean, divide by the standard deviation of the training set) or on its
logarithm, and undo it when predicting. If single targets are absurd, look at the data first.

Example
-------
::

    loss = F.mse_loss(model(x), price)                            # prices in full
    loss = F.mse_loss(model(x), (price - mean) / std)

References
----------
AppliedDataSciencePartners/WorldModels#9 (its loss before scaling was 2.9e8)
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import HUGE, amplitude, kind, largest_amplitude, origin_location
from stayfinite.catalog.histories import growth, growth_bits, told, too_large
from stayfinite.catalog.places import data
from stayfinite.catalog.predictions import scaled
from stayfinite.catalog.scales import (
    features,
    large_parameters,
    outliers_only,
    scale_bits,
    single_sample,
    targets,
    widest,
)
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

TITLE = "Target not scaled"
PRIOR = prior(threads=1)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("unscaled-target", "warehouse-actor-critic", "star-luminosity")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that makes the targets; else where the failure was born."""
    aim = widest(targets(case))
    return (data(case, aim.name) if aim is not None else None) or origin_location(case)


def evidence(case: Case) -> list[Evidence]:
    """How large the target is, whether the origin squared or summed numbers of that size, and what led up to it."""
    aim = widest(targets(case))
    if aim is None:
        return [Evidence("no continuous target is known", -5.0 if case.batch else -3.0, "target-scale")]
    if against := outliers_only(case, aim, "target-scale"):
        return against
    size = amplitude(aim)
    bits = scale_bits(size)
    found = [
        Evidence(f"`{aim.name}` {'reaches' if bits > 0 else 'stays within'} {show(size)}", bits, "target-scale"),
        *too_large(case),
    ]
    if bits <= 0.0:
        return found
    wide = widest(features(case))
    if wide is not None and wide.name == aim.name:
        found.append(Evidence(f"the target is the input itself: `{aim.name}`", -4.0, "input-scale"))
    elif wide is not None and amplitude(wide) >= 10.0 * size:
        found.append(Evidence(f"the input `{wide.name}` is larger still: {show(amplitude(wide))}", -2.5, "input-scale"))
    seen = largest_amplitude(case)
    if seen >= HUGE and size / 30.0 <= seen <= size * 30.0 and (kind(case).has("loss") or kind(case).has("squares")):
        found.append(Evidence(f"the origin squared or compared numbers of that size ({show(seen)})", 3.0,
                              "operand-scale"))
    loss = growth(case, "loss")
    if growth_bits(loss) > 0.0:
        found.append(Evidence(told("the loss", loss), 0.8 * growth_bits(loss), "loss-history"))
    return found + large_parameters(case) + single_sample(case)


def predict(case: Case) -> list[Prediction]:
    """With the target scaled the step passes, where it is the first that fails: later the weights have grown as well."""
    aim = widest(targets(case))
    return scaled(case, aim.name) if aim is not None else []
