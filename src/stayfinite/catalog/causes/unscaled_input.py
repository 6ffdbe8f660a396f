"""The input is in raw units, far from the size the network expects.

What happens
------------
Weights are drawn for inputs of about unit size. Inputs of a thousand make activations, the loss and above all the
gradients larger by powers of a thousand; squares and exponentials of them leave the format, or the first few steps
overshoot further and further.

How to recognise it
-------------------
The batch holds values of hundreds, thousands or more. Either the first steps already overflow, or the loss grows from
step to step although the learning rate is an ordinary one.

What to do
----------
Subtract the mean and divide by the standard deviation of the training set, per feature; divide pixels by 255. Where a
feature spans many powers of ten, take its logarithm first.

Example
-------
::

    x = torch.tensor(frame[["income", "population"]].to_numpy())
    x = (x - mean) / std                                          # of the training set, std at least 1e-6

References
----------
Yzmblog/SurfD#3
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import HUGE, amplitude, largest_amplitude, origin_location
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

TITLE = "Input not scaled"
PRIOR = prior(threads=1)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("unscaled-input", "co2-trend-by-hand", "byte-autoencoder")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that makes the inputs; else where the failure was born."""
    wide = widest(features(case))
    return (data(case, wide.name) if wide is not None else None) or origin_location(case)


def evidence(case: Case) -> list[Evidence]:
    """How large the input is, whether the origin computed with numbers of that size, and what led up to it."""
    widest_input = widest(features(case))
    if widest_input is None:
        return [Evidence("no continuous input is known", -4.0 if case.batch else -2.0, "input-scale")]
    if against := outliers_only(case, widest_input, "input-scale"):
        return against
    size = amplitude(widest_input)
    bits = scale_bits(size)
    found = [
        Evidence(f"`{widest_input.name}` reaches {show(size)}" if bits > 0 else f"`{widest_input.name}` stays within "
                 f"{show(size)}", bits, "input-scale"),
        *too_large(case),
    ]
    if bits <= 0.0:
        return found
    aim = widest(targets(case))
    if aim is not None and aim.name != widest_input.name and amplitude(aim) >= 0.3 * size:
        found.append(Evidence(f"the target `{aim.name}` reaches {show(amplitude(aim))} itself",
                              -2.5 if amplitude(aim) >= 10.0 * size else -1.5, "target-scale"))
    if widest_input.max == 255.0 and widest_input.min == 0.0:
        found.append(Evidence(f"`{widest_input.name}` runs from 0 to 255: pixels as bytes", 1.0, "bytes"))
    seen = largest_amplitude(case)
    if seen >= HUGE and size / 30.0 <= seen <= size * 30.0:
        found.append(Evidence(f"the origin computed with numbers of that size ({show(seen)})", 2.0, "operand-scale"))
    loss = growth(case, "loss")
    if growth_bits(loss) > 0.0:
        found.append(Evidence(told("the loss", loss), 0.8 * growth_bits(loss), "loss-history"))
    return found + large_parameters(case) + single_sample(case)


def predict(case: Case) -> list[Prediction]:
    """With the input scaled the step passes, where it is the first that fails: later the weights have grown as well."""
    wide = widest(features(case))
    return scaled(case, wide.name) if wide is not None else []
