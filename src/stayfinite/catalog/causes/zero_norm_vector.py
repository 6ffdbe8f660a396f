"""A vector of length 0 was normalised.

What happens
------------
v / |v| is 0 / 0 for a zero vector: an empty text, a black image, a unit that is dead for one sample. `normalize` and
`cosine_similarity` put a floor of 1e-12 or 1e-8 under the length: the value is finite then, but the slope is 1e12 or
1e8 and the next update destroys the weights.

How to recognise it
-------------------
The origin is a division whose divisor is a norm and 0, with a numerator of 0, or a normalisation whose input holds a
row of zeros.

What to do
----------
Add a small number to the squared length, as large as the noise of the vectors: `v * rsqrt(v.square().sum(-1) +
1e-6)`. Or leave zero vectors out.

Example
-------
::

    u = v / v.norm(dim=1, keepdim=True)
    u = v * torch.rsqrt(v.square().sum(1, keepdim=True) + 1e-6)

References
----------
none among the threads that were read; slopes of 1e9 for normalize and 5.8e7 for cosine_similarity were measured
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import candidates, finite, inputs, is_spread, kind, offending, operand, origin_location
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import inside_domain
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show

_LENGTH = r"norm|length|magnitude|abs\(|sqrt\("
FLOOR = 1e-5
"""Floors that are put under a length: 1e-12 and 1e-8 in `torch.nn.functional`, up to 1e-5 by hand."""

TITLE = "Normalising a zero vector"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(
    phases=COMPUTED, kinds=frozenset({"div", "reciprocal", "rsqrt", "norm", "normalize", "cosine_similarity"})
)
EXAMPLES = ("zero-norm-vector", "function-neighbours", "heading-gru")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """Whether the divisor is the length of the numerator, and 0."""
    here, given = kind(case), inputs(case)
    found = against_growth(case)
    if case.symptom.detector == "gradient-explosion":
        return [*found, *_floored(case)]
    if offending(case, lambda x: x == 0.0) is None:
        return [*found, Evidence("no vector of length 0 went in", -7.0, "operand-value")]
    if here.name in ("norm", "normalize", "cosine_similarity"):
        return [*found, Evidence(f"{here.name} was given zeros", 5.0, "operand-value")]
    divisor = operand(case)
    if divisor is None:
        return [*found, Evidence("the divisor is a constant", -7.0, "operand-value")]
    if here.name == "div":
        if not any(value == 0.0 for value in candidates(given[0])):
            return [*found, Evidence("the numerator is not 0, so the divisor is not its length", -6.0, "operand-value")]
        found.append(Evidence("numerator and divisor are both 0", 2.0, "operand-value"))
        if given[0].size > divisor.size > 1 and (divisor.zero < divisor.size or "norm" in divisor.made_by[:1]):
            found.append(Evidence("one divisor per row, as lengths are", 2.0, "operand-size"))
    if is_spread(divisor) and not {"norm"} & set(divisor.made_by[:1]):
        found.append(Evidence(f"the divisor `{divisor.name}` is a spread, taken around a mean", -5.0, "source-text"))
    elif re.search(_LENGTH, divisor.name):
        found.append(Evidence(f"the divisor `{divisor.name}` is a length", 5.0, "source-text"))
    return found


def _floored(case: Case) -> list[Evidence]:
    """A length of 0 that was kept from being 0 by a tiny floor: finite, and its slope is one over the floor."""
    given, divisor = inputs(case), operand(case)
    least = finite(divisor.min) if divisor is not None else None
    if divisor is None or least is None or not 0.0 < least <= FLOOR:
        return [Evidence("no length next to 0 was divided by", -7.0, "operand-value")]
    if not given[0].zero:
        return [Evidence("the numerator is not 0, so the divisor is not its length", -6.0, "operand-value")]
    found = [Evidence(f"zeros were divided by {show(least)}, which is a floor and no length", 6.0, "operand-value")]
    if given[0].size > divisor.size > 1 or (given[0].size == divisor.size and given[0].zero < given[0].size):
        found.append(Evidence("one divisor per row, as lengths are", 2.0, "operand-size"))
    if re.search(_LENGTH, f"{divisor.name} {origin_location(case).code}"):
        found.append(Evidence(f"the divisor `{divisor.name}` is a length", 2.0, "source-text"))
    return found


def predict(case: Case) -> list[Prediction]:
    """With the length kept away from 0 the step passes."""
    return inside_domain(case)
