"""A logarithm was taken of a probability that had become exactly 0.

What happens
------------
A softmax, a sigmoid or a rectifier rounds to exactly 0 (or 1) once its argument is large enough: exp(-104) is 0 in
float32. Its logarithm is -inf; times 0 that is NaN, and the loss with it. A little before, from exp(-88) on, the number
is below the smallest normal one: its logarithm is finite still, its slope 1 / x is not, and the gradient goes first.

How to recognise it
-------------------
The origin is a logarithm, its argument holds an exact 0 and no negative number. It happens late and on confident
samples, or at once where a rectifier feeds the logarithm.

What to do
----------
Compute the logarithm from the logits: log_softmax, logsigmoid, a cross-entropy on logits. A floor under the argument
(`log(p + 1e-8)`) keeps the loss finite but kills the gradient of exactly the samples that are most wrong.

Example
-------
::

    loss = -torch.log(torch.softmax(z, 1))[rows, labels].mean()
    loss = F.cross_entropy(z, labels)

References
----------
zylo117/Yet-Another-EfficientDet-Pytorch#717, RasmussenLab/vamb#12, pytorch/pytorch#24933, ml-explore/mlx#1280
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import against_hidden, kind, mentions, offending, operand, steep_value
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import in_time, inside_domain, is_used, stable
from stayfinite.catalog.precision import against_wraps
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

_EXPONENTIAL = frozenset({"softmax", "sigmoid", "exp"})
"""What rounds to 0 or 1, and has a logarithm that does not."""

TITLE = "Logarithm of zero"
PRIOR = prior(threads=4)
APPLIES_TO = Scope(phases=COMPUTED, kinds=frozenset({"log", "log1p", "xlogy", "logit"}))
EXAMPLES = ("log-of-zero", "ring-gan", "entropy-bonus")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The argument of the logarithm, what made it, and on which side of the step the value was born."""
    here = kind(case)
    found = [Evidence(f"the origin is {here.name}", 3.0, "origin-kind"), *against_growth(case)]
    argument = operand(case)
    value = offending(case, lambda x: here.singular(x) or not here.in_domain(x))
    near = steep_value(case)
    if near is not None:
        found.append(Evidence(f"{_name(argument)} is {show(near)}, all that rounding left of it: its slope 1 / x leaves the format",
                              6.0, "operand-value"))
    elif value is None:
        found.append(Evidence("the argument lies inside the domain", -7.0, "operand-value"))
    elif here.singular(value):
        count = f", in {argument.zero} of {argument.size} elements" if argument is not None and value == 0.0 else ""
        found.append(Evidence(f"{_name(argument)} is exactly {show(value)}{count}", 5.0, "operand-value"))
    else:
        found.append(Evidence(f"the argument is {show(value)}, outside the domain and not at its edge", -7.0,
                              "operand-value"))
    if mentions(case, r"softmax|sigmoid|prob|relu"):
        found.append(Evidence("the argument comes from a function that rounds to 0 or 1", 0.5, "source-text"))
    return found + against_hidden(case) + against_wraps(case)


def _name(argument: TensorStats | None) -> str:
    return f"`{argument.name}`" if argument is not None else "the argument"


def predict(case: Case) -> list[Prediction]:
    """With the logarithm taken in one with the exponentials that made its argument, or with the argument kept above 0, the step
    passes; that something before it was computed in a wider format does not help."""
    argument = operand(case)
    made = _EXPONENTIAL & set(argument.made_by) if argument is not None else frozenset()
    return [
        *(stable(case, "log-softmax") if made else ()),
        *inside_domain(case, placebo=in_time(case), used=is_used(case)),
    ]
