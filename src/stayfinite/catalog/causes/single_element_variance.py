"""A variance or standard deviation was taken of a single value.

What happens
------------
The unbiased variance divides by n - 1: for one value that is 0 / 0. It happens to the advantages of a batch of one,
to a batch normalisation that sees one value per channel, to the last short batch of an epoch.

How to recognise it
-------------------
The origin is a variance, a standard deviation or a batch normalisation, and each of its groups has one element; or
the framework refused with "expected more than 1 value per channel".

What to do
----------
Drop the last short batch, use `correction=0`, or skip the normalisation where there is one value.

Example
-------
::

    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    if advantage.numel() > 1: ...

References
----------
DLR-RM/stable-baselines3#440, facebookresearch/SparseConvNet#190, facebookresearch/SparseConvNet#105,
FluxML/Flux.jl#2716
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import inputs, kind, origin_location, output, raised
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import stable
from stayfinite.catalog.places import loader, single_row
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location

_REFUSED = r"more than 1 (value|spatial element)"

TITLE = "Variance of a single value"
PRIOR = prior(threads=4)
APPLIES_TO = Scope(phases=COMPUTED, kinds=frozenset({"var", "std", "batch_norm"}), messages=_REFUSED)
EXAMPLES = ("single-element-variance", "digits-last-batch", "one-shot-class")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that cuts the data into batches, where the batch itself holds one sample; else the operation."""
    return (loader(case) if single_row(case) else None) or origin_location(case)


def evidence(case: Case) -> list[Evidence]:
    """How many values each variance was taken of."""
    if raised(case, _REFUSED):
        return [Evidence("the framework refused a single value per channel", 8.0, "exception")]
    count = _values_per_group(case)
    found = against_growth(case)
    if count is None:
        found.append(Evidence("it is not known how many values went in", 0.0, "operand-size"))
    elif count == 1:
        found.append(Evidence(f"{kind(case).name} was taken of one value", 9.0, "operand-size"))
    else:
        found.append(Evidence(f"{kind(case).name} was taken of {count} values", -8.0, "operand-size"))
    return found


def _values_per_group(case: Case) -> int | None:
    given, made = inputs(case), output(case)
    if not given:
        return None
    values = given[0]
    if kind(case).name == "batch_norm":
        return values.size // values.shape[1] if len(values.shape) > 1 and values.shape[1] else None
    return values.size // made.size if made is not None and made.size else None


def predict(case: Case) -> list[Prediction]:
    """With 0 as the variance of one value the step passes."""
    return stable(case, "unbiased-off")
