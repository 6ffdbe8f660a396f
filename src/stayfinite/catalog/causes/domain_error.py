"""An operation was given a number it is not defined for.

What happens
------------
The square root or logarithm of a negative number, acos of 1.0000001, a negative number to the power 0.5, a
probability above 1, a scale that is not positive: there is no real result. Some operators give NaN, others raise.

How to recognise it
-------------------
The origin's argument lies outside of its domain, and not at the edge of it. Values a rounding error outside (a cosine
similarity of 1.0000001, a variance of -1e-9) are as common as really negative ones.

What to do
----------
If rounding did it, clamp to the domain before the operation, a little inside of the edge if a gradient goes through
it. If the value is really outside, make it impossible: softplus for scales, a sigmoid or a loss on logits for
probabilities.

Example
-------
::

    angle = torch.acos(cosine)
    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))

References
----------
DLR-RM/rl-baselines3-zoo#156, DLR-RM/stable-baselines3#1593 (a distribution given NaN, which is a different cause)
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import exponent, finite, inputs, kind, offending, operand, raised
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.operator_predictions import inside_domain, is_used
from stayfinite.catalog.ops import op_kind, power_in_domain
from stayfinite.catalog.precision import against_wraps
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show

_REFUSED = (
    r"between 0 and 1|satisfy the constraint|within the support|element < 0|negative value|math domain error"
    r"|invalid multinomial"
)

TITLE = "Argument outside the domain"
PRIOR = prior(threads=2)
APPLIES_TO = Scope(
    phases=COMPUTED,
    kinds=frozenset({
        "log", "log1p", "xlogy", "logit", "pow", "sqrt", "rsqrt", "acos", "asin", "acosh", "atanh", "lgamma", "digamma",
        "erfinv", "bce", "kl_div", "sample", "distribution",
    }),
    messages=_REFUSED,
)
EXAMPLES = ("domain-error", "negative-scale", "poincare-modules")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The argument against the operator's domain, and what an exception says."""
    found = []
    if raised(case, _REFUSED) and case.exception is not None:
        found.append(Evidence(f"{case.exception.type}: an argument was refused", 5.0, "exception"))
    if any(stats.nonfinite for stats in inputs(case)):
        return [*found, Evidence("its input was not finite: it was made before", -8.0, "operand-value")]
    if case.origin is None:
        return found
    here, argument = kind(case), operand(case)
    value = _outside(case)
    name = f"`{argument.name}`" if argument is not None else "the argument"
    if value is not None:
        found.append(Evidence(f"{name} is {show(value)}; {here.name} needs {here.domain}", 6.0, "operand-value"))
        found.append(Evidence(f"the origin is {here.name}", 3.0, "origin-kind"))
    elif not found:
        found.append(Evidence(f"{name} lies inside the domain of {here.name} or at its edge", -7.0, "operand-value"))
    return found + against_wraps(case)


def _outside(case: Case) -> float | None:
    here = op_kind(case.origin.op) if case.origin is not None else op_kind("unknown")
    if here.name == "pow":
        power = exponent(case)
        return offending(case, lambda x: x < 0.0 and power is not None and not power_in_domain(x, power))
    if here.name == "distribution":
        return next((low for s in inputs(case) if (low := finite(s.min)) is not None and low <= 0.0), None)
    return offending(case, lambda x: not here.in_domain(x) and not here.singular(x))


def predict(case: Case) -> list[Prediction]:
    """With the argument inside the domain the step passes."""
    return inside_domain(case, used=is_used(case))
