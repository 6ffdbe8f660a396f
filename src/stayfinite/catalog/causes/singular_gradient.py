"""The value was finite, but the slope of the operation at that point is not.

What happens
------------
sqrt(x) is 0 at 0 and its slope there is infinite. The same holds for powers below 1, norms of a zero vector, acos and
asin at 1, the standard deviation of equal values, the distance of two equal points. The loss is fine; the gradient is
an infinity, and 0 times it further down is NaN.

How to recognise it
-------------------
The loss of the step is finite and the gradient is not. The backward pass broke at an operation whose forward input
holds a value at the edge of its domain, and a gradient other than 0 arrived there.

What to do
----------
Put a small number inside: `sqrt(x + 1e-12)`, not `sqrt(x) + 1e-12`. A `clamp(min=0)` before the root does not help,
as 0 itself is the singular point.

Example
-------
::

    distance = ((a - b) ** 2).sum(1).sqrt()
    distance = (((a - b) ** 2).sum(1) + 1e-12).sqrt()

References
----------
pytorch/pytorch#2421, pytorch/pytorch#6394, pyg-team/pytorch_geometric#2559, richzhang/PerceptualSimilarity#69,
mpariente/pytorch_stoi#7, chaddy1004/sobel-operator-pytorch#1, pyro-ppl/pyro#1273
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import (
    edge_value,
    flat_later,
    hiding_calls,
    incoming_gradient,
    kind,
    masked_later,
    operand,
    steep_value,
)
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import inside_domain
from stayfinite.catalog.ops import DECOMPOSITIONS, KINDS
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show

TITLE = "Slope not finite at this point"
PRIOR = prior(threads=8)
APPLIES_TO = Scope(
    phases=frozenset({"backward"}),
    kinds=frozenset(name for name, kind in KINDS.items() if kind.singular_at) - DECOMPOSITIONS,
)
EXAMPLES = ("singular-gradient", "critic-penalty", "dry-day-rmse")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The forward input against the operator's singular points, and the gradient that arrived there."""
    here = kind(case)
    found = [Evidence(f"the backward pass of {here.name} made the first bad gradient", 2.5, "origin-kind"),
             _point(case), *against_growth(case)]
    arrived = incoming_gradient(case)
    if arrived == 0.0 and masked_later(case):
        found.append(Evidence("the gradient that arrives is 0: the element is not used", -3.0, "incoming-gradient"))
    elif arrived == 0.0:
        found.append(Evidence("the gradient that arrives is 0, and 0 times an infinite slope is NaN", 0.5,
                              "incoming-gradient"))
    elif arrived is not None:
        found.append(Evidence(f"a gradient of {show(arrived)} arrived there: the element is used", 2.0,
                              "incoming-gradient"))
    if hiding_calls(case):
        found.append(Evidence("the forward value was not finite either, only hidden", -4.0, "absorbed"))
    return found


def _point(case: Case) -> Evidence:
    here, argument = kind(case), operand(case)
    name = f"`{argument.name}`" if argument is not None else "the argument"
    value = edge_value(case)
    if value is not None:
        count = f" in {argument.zero} of {argument.size} elements" if argument is not None and value == 0.0 else ""
        return Evidence(f"{name} is {show(value)}{count}; the slope of {here.name} is not finite at {here.singular_at}",
                        5.0, "operand-value")
    near = steep_value(case)
    if near is not None:
        return Evidence(f"{name} is {show(near)}, where {here.name} has a slope that the format cannot hold", 1.0, "operand-value")
    if argument is not None and here.name == "std" and argument.min == argument.max:
        return Evidence(f"all values of {name} are equal: {here.singular_at}", 5.0, "operand-value")
    if here.name in ("distance", "tan", "std"):
        return Evidence(f"{here.name} has a singular slope at {here.singular_at}", 1.0, "operand-value")
    return Evidence(f"{name} does not reach {here.singular_at}", -6.0, "operand-value")


def predict(case: Case) -> list[Prediction]:
    """Away from the singular point the step passes, and the loss depends on what is there; with this batch it may lie on a flat part
    of the loss (a hinge that is satisfied), and 0 times an infinite slope is as bad."""
    return inside_domain(case, used=None if flat_later(case) else True)
