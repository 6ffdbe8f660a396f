"""A sample was normalised by a number taken from itself, and that number is 0.

What happens
------------
Every sample is brought to unit contrast, to unit length, to a sum of 1. One sample has nothing to normalise by: an image of
one colour, a crop of one pixel, silence, a document without a counted word, a histogram without entries. 0 / 0 is NaN.

How to recognise it
-------------------
The bad values were made by a division before the step, and the divisor (a standard deviation, a range, a sum, a norm, a
largest value) is 0. Single samples are bad, the same ones in every epoch.

What to do
----------
Decide what an empty sample is worth: leave it out, or divide by 1 where there is nothing to divide by. An epsilon keeps the
number finite; it also makes noise large, so choose it in the units of the data.

Example
-------
::

    counts / counts.sum()                            # an empty document
    counts / counts.sum().clamp(min=1)

References
----------
The empty crop and the silent clip are the commonest among what data loaders are reported to give.
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import birth_location as locate
from stayfinite.catalog.normalizations import NORMALIZERS, divided_by, few_samples, zero_divisor
from stayfinite.catalog.predictions import without_gaps
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction

TITLE = "A sample normalised by a spread or sum of 0"
PRIOR = prior(threads=1)
APPLIES_TO = Scope(phases=frozenset({"data", "forward", "loss"}))
EXAMPLES = ("cropped-seals", "short-reviews")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """What the values were divided by before the step, and whether single samples are bad."""
    divisor = zero_divisor(case)
    if divisor is None:
        return [Evidence("nothing is known of a division by 0 before the step", -9.0, "born-by")]
    by = divided_by(case)
    if by not in NORMALIZERS:
        return [Evidence(f"`{divisor.name}` is 0, and it normalises nothing", -6.0, "born-by")]
    found = [Evidence(f"before the step, values were divided by `{divisor.name}`, which is 0", 9.0, "born-by")]
    if few_samples(case):
        found.append(Evidence("single samples are bad", 3.0, "samples"))
    else:
        found.append(Evidence("all samples are bad alike", -4.0, "samples"))
    return found


def predict(case: Case) -> list[Prediction]:
    """With the gaps filled that it left in the batch the step passes, and without the samples that have them."""
    return without_gaps(case)
