"""A divisor was exactly 0, or too small for the format.

What happens
------------
x / 0 is an infinity, 0 / 0 is NaN. Typical divisors are a range (max - min of a constant column), a standard
deviation of equal values, a predicted scale that underflowed, a count, the degree of a node without neighbours, which
a graph convolution takes to the power of -1/2.

How to recognise it
-------------------
The origin is a division, a reciprocal or a negative power, and the divisor at the bad element is 0.

What to do
----------
Choose the divisor before dividing: `x / torch.where(d != 0, d, 1)`; or add a small number to a divisor that is never
negative. A `where` after the division is too late for the gradient.

Example
-------
::

    z = (x - x.min()) / (x.max() - x.min())
    z = (x - x.min()) / (x.max() - x.min()).clamp_min(1e-6)

References
----------
mllam/neural-lam#537, facebookresearch/pytorch_GAN_zoo#89, hieuvmphan/REMINDER#10, evandowning/deepreflect#11,
jindongwang/transferlearning#46, Pointcept/Pointcept#530
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import against_hidden, exponent, finite, inputs, kind, offending, operand
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import in_time, inside_domain, is_used
from stayfinite.catalog.precision import against_wraps
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show

TITLE = "Division by zero"
PRIOR = prior(threads=6)
APPLIES_TO = Scope(phases=COMPUTED, kinds=frozenset({"div", "reciprocal", "rsqrt", "pow"}))
EXAMPLES = ("division-by-zero", "dropped-edges", "digits-closeup")

TINY = 1e-30
"""Divisors below it send ordinary numerators beyond float32, whose largest number is 3.4e38."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The divisor, the numerator, and on which side of the step the value was born."""
    power = exponent(case) if kind(case).name == "pow" else None
    if kind(case).name == "pow" and (power is None or power >= 0.0):
        return [Evidence("the power is not a negative one, so nothing is divided", -9.0, "origin-kind")]
    here = kind(case).name if power is None else f"a power of {show(power)}"
    found = [Evidence(f"the origin is {here}", 3.0, "origin-kind"), *against_growth(case)]
    divisor = operand(case)
    name = f"`{divisor.name}`" if divisor is not None else "the divisor"
    if offending(case, lambda x: x == 0.0) is not None:
        count = f" in {divisor.zero} of {divisor.size} elements" if divisor is not None else ""
        found.append(Evidence(f"{name} is exactly 0{count}", 4.0, "operand-value"))
    elif (small := offending(case, lambda x: abs(x) < TINY)) is not None:
        found.append(Evidence(f"{name} is {show(small)}: the quotient leaves the format", 2.0, "operand-value"))
    else:
        found.append(Evidence(f"{name} is not 0", -7.0, "operand-value"))
    numerator = finite(inputs(case)[0].culprit) if kind(case).name == "div" and inputs(case) else None
    if numerator is not None and numerator != 0.0:
        found.append(Evidence(f"the numerator is {show(numerator)}, not 0: nothing was empty", 1.5, "numerator"))
    elif numerator == 0.0:
        found.append(Evidence("the numerator is 0 as well", -1.0, "numerator"))
    return found + against_hidden(case) + against_wraps(case)


def predict(case: Case) -> list[Prediction]:
    """With the divisor kept away from 0 the step passes; that something before it was computed in a wider format does not help."""
    return inside_domain(case, placebo=in_time(case), used=is_used(case))
