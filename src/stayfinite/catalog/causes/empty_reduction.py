"""A mean was taken over nothing.

What happens
------------
The sum over no elements is 0, their number is 0, and 0 / 0 is NaN: all labels of the batch are ignored, a mask
selects nothing, a class does not occur, a list of boxes is empty.

How to recognise it
-------------------
The origin is a mean, a loss, or a division whose numerator and divisor are both a single 0. It comes and goes with
the composition of the batch, and more often with small ones. A cross-entropy with every label ignored gives a NaN
loss with gradients of exactly 0 and does no harm; a division written by hand poisons the gradients as well.

What to do
----------
Divide by the count, but at least by 1, and count how often that happened: a guard that always fires hides a broken
join of labels. Or skip such batches.

Example
-------
::

    loss = (losses * mask).sum() / mask.sum()
    loss = (losses * mask).sum() / mask.sum().clamp_min(1)

References
----------
pytorch/pytorch#116349, pytorch/pytorch#70348, OpenRLHF/OpenRLHF#583, nvidia-cosmos/cosmos-rl#155,
londonaicentre/FLIP#766, ydkim1293/NLNL-Negative-Learning-for-Noisy-Labels#9, HuiZhang0812/DiffusionAD#33
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import candidates, finite, inputs, kind, output, raised
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import stable
from stayfinite.catalog.ops import KINDS
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.tensor import TensorStats

_EMPTY = r"non-zero size|numel\(\) == 0|empty tensor|no elements|zero-size|non-empty"
_LABELLED = frozenset({"nll_loss", "cross_entropy"})
_SUM = r"\bsum\("
_COUNT = r"\.sum\(|count|numel|\blen\b|num_|\bn\b|size\("

TITLE = "Mean over nothing"
PRIOR = prior(threads=10)
APPLIES_TO = Scope(
    phases=COMPUTED,
    kinds=frozenset(name for name, kind in KINDS.items() if kind.has("reduction")) | {"div"},
    messages=_EMPTY,
)
EXAMPLES = ("empty-reduction", "molecule-readout", "unlabelled-batch")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """Whether what was reduced has no elements, whether all labels are ignored, or whether a count is 0."""
    if raised(case, _EMPTY):
        return [Evidence("the exception says that there was nothing to reduce", 9.0, "exception")]
    name = kind(case).name
    found = against_growth(case)
    empty = next((stats for stats in inputs(case) if not stats.size), None)
    if empty is not None:
        found.append(Evidence(f"`{empty.name}` has the shape {list(empty.shape)}: no elements", 10.0, "operand-size"))
    elif name in _LABELLED:
        found.extend(_labels(case))
    elif name == "div":
        found.extend(_ratio(case))
    else:
        found.append(Evidence("what was reduced is not empty", -7.0, "operand-size"))
    return found


def _labels(case: Case) -> list[Evidence]:
    given, made = inputs(case), output(case)
    if any(stats.nonfinite for stats in given):
        return [Evidence("its input was not finite", -5.0, "operand-value")]
    labels = next((stats for stats in given if dtype_facts(stats.dtype) is None), None)
    if labels is not None and labels.min == labels.max and (finite(labels.min) or 0.0) < 0.0:
        return [Evidence(f"every label in `{labels.name}` is {labels.min:.0f}: all are ignored", 9.0, "labels")]
    if made is not None and made.nan and not made.posinf:
        return [Evidence("finite scores gave NaN: the labels that count have a total weight of 0", 5.0, "labels")]
    return [Evidence("there are labels that count", -4.0, "labels")]


def _ratio(case: Case) -> list[Evidence]:
    given = inputs(case)
    if len(given) < 2 or not any(value == 0.0 for value in candidates(given[1])):
        return [Evidence("the divisor is not a count of 0", -7.0, "operand-value")]
    numerator, divisor = given[0], given[1]
    if not any(value == 0.0 for value in candidates(numerator)):
        return [Evidence("the numerator is not 0: something was summed", -4.0, "operand-value")]
    found = [Evidence("numerator and divisor are both 0", 2.0, "operand-value")]
    if (re.search(_SUM, numerator.name) or _summed(numerator)) and (re.search(_SUM, divisor.name) or _summed(divisor)):
        found.append(Evidence("a sum is divided by a sum, as in a masked mean", 4.0, "operand-size"))
    elif numerator.size == 1 and divisor.size == 1:
        found.append(Evidence("both are single numbers, as a sum and a count are", 3.0, "operand-size"))
    elif divisor.shape[:1] == numerator.shape[:1] and (most := _whole(divisor)) >= 2.0:
        found.append(Evidence(f"`{divisor.name}` has a whole number for each row, from 0 to {most:.0f}, as counts of members "
                              "are", 4.0, "operand-size"))
    if _is_count(divisor):
        found.append(Evidence(f"the divisor `{divisor.name}` ({divisor.dtype}) is a count", 3.0, "source-text"))
    return found


def _summed(stats: TensorStats) -> bool:
    """True if a sum made it, over an axis or over the rows of each group (index_add, scatter_add)."""
    return stats.made_by[:1] in (("sum",), ("scatter",))


def _whole(divisor: TensorStats) -> float:
    """The largest divisor if it is a whole number and the smallest is 0; else 0. Integers are counts in any case, and the
    difference of two numbers is a range."""
    if dtype_facts(divisor.dtype) is None or "sub" in divisor.made_by[:2]:
        return 0.0
    most = finite(divisor.max) or 0.0
    return most if finite(divisor.min) == 0.0 and most == int(most) else 0.0


def _is_count(divisor: TensorStats) -> bool:
    return dtype_facts(divisor.dtype) is None or re.search(_COUNT, divisor.name) is not None


def predict(case: Case) -> list[Prediction]:
    """With 0 as the result of a reduction over nothing the step passes."""
    return stable(case, "mean-over-some")
