"""A number was too large for float16, though not for float32.

What happens
------------
float16 ends at 65504. Activations, attention scores, sums over a large axis and gradients of a scaled loss pass that
easily; the result is infinite, and one operation later NaN.

How to recognise it
-------------------
The first bad value is an infinity in a float16 tensor, and what it was made of would have fitted into float32. It is
deterministic, and the same step is clean in float32 or bfloat16.

What to do
----------
Use bfloat16 where the hardware has it (same range as float32), or run this one operation in float32 with autocast
switched off around it. A clamp helps only at the very operation that overflows.

Example
-------
::

    with torch.autocast("cuda", dtype=torch.float16): ...
    with torch.autocast("cuda", dtype=torch.bfloat16): ...

References
----------
huggingface/transformers#5651, huggingface/transformers#9295, huggingface/transformers#11461,
google-research/text-to-text-transfer-transformer#539, LTH14/mar#69, motional/nuplan-devkit#91
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import (
    amplitude,
    dtypes,
    edge_value,
    finite,
    inputs,
    kind,
    offending,
    output,
    overflowed,
    phase,
)
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.dtypes import DTYPES
from stayfinite.catalog.operator_predictions import wider
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Precision, Prediction
from stayfinite.records.numbers import show

TITLE = "float16 overflow"
PRIOR = prior(threads=19)
APPLIES_TO = Scope(phases=COMPUTED)
EXAMPLES = ("half-precision-overflow", "half-trunk")

HALF, SINGLE = DTYPES["float16"].largest, DTYPES["float32"].largest

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The format of the bad value, whether it is an infinity, and whether float32 would have held it."""
    made = output(case)
    if made is None or made.dtype != "float16":
        if "float16" not in dtypes(case):
            return [Evidence("no float16 number took part", -12.0, "format")]
        return [Evidence("the bad value itself is not a float16 number", -5.0, "format")]
    found = [Evidence("the bad value is a float16 number", 3.0, "format")]
    if edge_value(case) is not None:
        return [*found, Evidence("the operator has no finite value there in any format", -6.0, "range")]
    if not overflowed(case):
        return [*found, Evidence("it was no overflow", -4.0, "range")]
    found += _scale(case)
    if made.posinf or made.neginf:
        found.append(Evidence("the first bad value is an infinity, not NaN", 1.5, "output"))
    exact = _size_of_result(case)
    if exact is None:
        found.append(Evidence("its inputs are finite, and float32 goes up to 3.4e38", 2.0, "range"))
    elif exact <= SINGLE:
        found.append(Evidence(f"the exact result is about {show(exact)}: beyond float16 ({show(HALF)}), not beyond"
                              " float32", 4.0, "range"))
    else:
        found.append(Evidence("the exact result would not fit into float32 either", -4.0, "range"))
    return found


def _scale(case: Case) -> list[Evidence]:
    """A gradient that only the scale of the loss makes too large is no overflow of the model's."""
    if phase(case) != "backward" or case.configuration.loss_scaling is None:
        return []
    if case.replay.unscaled == "finite":
        return [Evidence("with a loss that is not scaled the same gradients are finite", -8.0, "scale")]
    if case.replay.unscaled == "nonfinite":
        return [Evidence("it overflows with a loss that is not scaled as well", 1.0, "scale")]
    if case.configuration.loss_scaling.misuse("stepped-scaled") is not None:
        return [Evidence("the gradients carry the scale of the loss, which was never taken out", -7.0, "scale")]
    return []


def _size_of_result(case: Case) -> float | None:
    """About the largest magnitude of the exact result, for kinds where it follows from the inputs; None for others."""
    here, given = kind(case), inputs(case)
    culprits = [value for stats in given if (value := finite(stats.culprit)) is not None]
    sizes = [abs(value) for value in culprits] or [amplitude(stats) for stats in given]
    if not sizes:
        return None
    if here.has("exponentiates"):
        wide = offending(case, lambda x: abs(x) > here.overflow_limit("float32"))
        return float("inf") if wide is not None else HALF * 2.0
    if here.name == "cast":
        return sizes[0]
    if here.name == "mul" and len(sizes) == 2:
        return sizes[0] * sizes[1]
    if here.name in ("add", "sub"):
        return sum(sizes)
    return None


def predict(case: Case) -> list[Prediction]:
    """With the operator in float32, and its result too until it fits into float16, the step passes; else with all of it. Where
    updates were taken that carried the scale of the loss, a wider format would only hold the numbers that they made."""
    scaling = case.configuration.loss_scaling
    if scaling is not None and (scaling.misuse("stepped-scaled") or scaling.misuse("not-divided")):
        return []
    return [*wider(case, "float32", breadth=0), Prediction(Precision("float32"), breadth=2)]
