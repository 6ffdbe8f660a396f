"""A feature was divided by its own spread, and the spread is 0.

What happens
------------
Every column is brought to zero mean and unit spread, or to the range from 0 to 1. One column is constant: a sensor that
froze, a category that does not occur in this part of the data, a pixel at the border that is always black. Its standard
deviation, or its largest minus its smallest value, is 0, and 0 / 0 is NaN in all of its rows.

How to recognise it
-------------------
The bad values were made by a division before the step, the divisor is a spread, and it is 0 there. Whole columns are bad,
in every row, and the other columns are not.

What to do
----------
Take such columns out: they carry nothing. Where the same columns must stay, divide by 1 where the spread is 0. Take spreads
from the whole training set once, and not from each part of it.

Example
-------
::

    z = (x - x.mean(axis=0)) / x.std(axis=0)                      # one column is constant
    spread = x.std(axis=0)
    z = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)

References
----------
scikit-learn's `StandardScaler` divides by 1 where the variance is 0, for this reason.
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import birth_location as locate
from stayfinite.catalog.normalizations import SPREADS, divided_by, few_samples, zero_divisor
from stayfinite.catalog.predictions import without_gaps
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction

TITLE = "A constant feature divided by its spread"
PRIOR = prior(threads=1)
APPLIES_TO = Scope(phases=frozenset({"data", "forward", "loss"}))
EXAMPLES = ("stuck-sensor", "walk-forward", "plant-sessions")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """What the values were divided by before the step, and whether whole columns are bad."""
    divisor = zero_divisor(case)
    if divisor is None:
        return [Evidence("nothing is known of a division by 0 before the step", -9.0, "born-by")]
    by = divided_by(case)
    if by not in SPREADS:
        return [Evidence(f"`{divisor.name}` is 0, and it is no spread", -6.0, "born-by")]
    found = [Evidence(f"before the step, values were divided by the spread `{divisor.name}`, which is 0", 9.0, "born-by")]
    if few_samples(case):
        found.append(Evidence("single samples are bad, not columns", -6.0, "samples"))
    else:
        found.append(Evidence("all samples are bad alike", 2.0, "samples"))
    columns = case.origin.columns if case.origin is not None else ()
    if columns:
        found.append(Evidence(f"the bad values lie in column {', '.join(columns[:4])}", 2.5, "columns"))
    return found


def predict(case: Case) -> list[Prediction]:
    """With the gaps filled that it left in the batch the step passes, and without the samples that have them."""
    return without_gaps(case)
