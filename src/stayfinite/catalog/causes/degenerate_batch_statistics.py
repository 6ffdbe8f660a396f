"""A normalisation took its statistics of values that have no spread, or of a single one.

What happens
------------
A normalisation layer divides by the spread of what it is given. One value per channel (the last batch of an epoch has
one sample, a feature map has shrunk to 1 x 1, a group has one channel) has none: its unbiased variance is 0 / 0, and
the running variance that is updated with it is NaN from then on, which only evaluation shows. A channel that is the same
everywhere has spread 0: without an epsilon that is 0 / 0 as well, with a tiny one the gradient is multiplied by
1 / sqrt(epsilon).

How to recognise it
-------------------
The origin is a normalisation, or a variance over the batch that feeds one or a buffer, and its statistics are taken of
one value or of equal values; or the framework refused with "expected more than 1 value per channel". It comes with short
batches, with blank samples, with inputs that are smaller than usual.

What to do
----------
Drop the last short batch, or normalise over something else than the batch (a layer or group normalisation). Keep the
epsilon, at 1e-5 or so; write `correction=0` and the epsilon inside the root where the layer is your own.

Example
-------
::

    loader = DataLoader(data, batch_size=32, shuffle=True)
    loader = DataLoader(data, batch_size=32, shuffle=True, drop_last=True)

References
----------
facebookresearch/SparseConvNet#190, facebookresearch/SparseConvNet#105, FluxML/Flux.jl#2716, pytorch/pytorch#1206
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import (
    edge_value,
    inputs,
    is_spread,
    kind,
    mentions,
    operand,
    origin_location,
    output,
    raised,
    scalars,
)
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import inside_domain, stable
from stayfinite.catalog.places import loader, single_row
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.tensor import TensorStats

_REFUSED = r"more than 1 (value|spatial element)"
_NO_EPSILON = r"eps must be positive"
_LAYERS = frozenset({"batch_norm", "layer_norm", "group_norm", "rms_norm"})
_SPREADS = frozenset({"var", "std"})
_DIVIDING = frozenset({"div", "reciprocal", "rsqrt", "sqrt", "pow"})
_NORMALISING = r"norm|whiten|standardi[sz]e|running"

TITLE = "Statistics of values without spread"
PRIOR = prior(threads=4)
APPLIES_TO = Scope(
    phases=COMPUTED, kinds=_LAYERS | _SPREADS | _DIVIDING, messages=f"{_REFUSED}|{_NO_EPSILON}"
)
EXAMPLES = ("last-short-batch", "running-spread", "flat-channel")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that cuts the data into batches, where the batch itself holds one sample; else the operation."""
    return (loader(case) if single_row(case) else None) or origin_location(case)


def evidence(case: Case) -> list[Evidence]:
    """How many values each statistic was taken of, and how many of them have no spread."""
    if raised(case, _REFUSED):
        return [Evidence("the framework refused statistics of a single value per channel", 12.0, "exception")]
    if raised(case, _NO_EPSILON):
        return [Evidence("the framework refused an epsilon that is not positive", 11.0, "exception")]
    if any(stats.nonfinite for stats in inputs(case)):
        return [Evidence("its input was not finite: it was made before", -8.0, "operand-value")]
    name = kind(case).name
    if name in _LAYERS:
        return [*_layer(case), *against_growth(case)]
    if name in _SPREADS:
        return [*_spread(case), *against_growth(case)]
    return [*_divided(case), *against_growth(case)]


def _layer(case: Case) -> list[Evidence]:
    told, name = scalars(case), kind(case).name
    epsilon = told.get("eps")
    if "values" not in told:
        return [Evidence(f"{name} used stored statistics", -6.0, "operand-size")]
    values, groups, constant = told["values"], told["groups"], told["constant"]
    if values == 1:
        return [Evidence(f"each of the {groups:.0f} statistics of {name} is taken of one value", 10.0, "operand-size")]
    if not constant:
        return [Evidence(f"each of the {groups:.0f} statistics of {name} is taken of {values:.0f} values that differ", -7.0,
                         "operand-size")]
    found = [Evidence(f"{constant:.0f} of {groups:.0f} channels or rows hold one and the same value throughout", 5.0,
                      "operand-size")]
    if epsilon is not None and epsilon <= 1e-10:
        found.append(Evidence(f"the epsilon of {name} is {epsilon:g}", 4.0, "epsilon"))
    return found


def _spread(case: Case) -> list[Evidence]:
    """A variance or standard deviation that is a layer's: it is taken over the batch, for each of several features."""
    given, made = inputs(case), output(case)
    if not given or made is None or not made.size:
        return [Evidence("it is not known what the spread was taken of", -3.0, "operand-size")]
    count = given[0].size // made.size
    if count != 1:
        equal = given[0].min == given[0].max
        return [Evidence(f"the spread was taken of {count} values" + (", all equal" if equal else ""),
                         1.0 if equal else -8.0, "operand-size")]
    found = [Evidence("the spread was taken of one value", 7.0, "operand-size")]
    if _keeps_statistics(case):
        found.append(Evidence("it is kept as a running statistic", 4.0, "use"))
    elif made.size > 1 and (mentions(case, _NORMALISING) or _in_normalisation(case)):
        found.append(Evidence(f"it is one of {made.size} statistics of a normalisation", 3.5, "use"))
    return found


def _divided(case: Case) -> list[Evidence]:
    """A division by a spread that was measured in the same step: a normalisation written by hand."""
    divisor = operand(case)
    if divisor is None or edge_value(case) is None or not is_spread(divisor):
        return [Evidence("nothing was divided by a measured spread", -8.0, "use")]
    where = f" (made at line {divisor.made_at.line})" if divisor.made_at is not None else ""
    found = [Evidence(f"`{divisor.name}`{where} is a measured spread, and 0", 4.0, "operand-value")]
    shared = _over_batch(case, divisor)
    if _in_normalisation(case) or (shared and divisor.size > 1 and _is_centred(case)):
        over = "over the batch" if shared else "over the values of one sample each"
        found.append(Evidence(f"it is one of {divisor.size} statistics {over}, of a normalisation", 5.0, "use"))
    elif not shared:
        found.append(Evidence("each sample has its own", -5.0, "use"))
    return found


def _over_batch(case: Case, spread: TensorStats) -> bool:
    """True if samples share the statistics `spread`, instead of each having its own."""
    return not spread.shape or spread.shape[0] == 1 or spread.shape[0] != case.batch_size


def _is_centred(case: Case) -> bool:
    """True where what is divided is a difference: ``(x - mean) / spread``."""
    given = inputs(case)
    return kind(case).name == "div" and bool(given) and given[0].made_by[:1] == ("sub",)


def _keeps_statistics(case: Case) -> bool:
    return case.symptom.detector == "nonfinite-buffer" or any(sink.kind == "buffer" for sink in case.trace.sinks)


def _in_normalisation(case: Case) -> bool:
    origin = case.origin
    place = f"{origin.location.function} {origin.module or ''}".lower() if origin is not None else ""
    return re.search(r"norm|whiten|standardi[sz]", place) is not None


def predict(case: Case) -> list[Prediction]:
    """With 0 as the spread of one value, or with an epsilon beside it, the step passes."""
    if kind(case).name in _DIVIDING:
        return inside_domain(case)
    return [*stable(case, "unbiased-off"), *stable(case, "epsilon-inside")]
