"""The data already held a NaN or an infinity.

What happens
------------
A sample, a target or a feature of the batch is NaN or infinite before the model sees it: a missing measurement, a
division in a transform, a damaged file. Every sum over it is NaN, so the loss and all gradients are.

How to recognise it
-------------------
The origin lies in the data phase: no operation of the step made the value. It follows the sample, not the step: the
same index fails in every epoch and in every batch it is put into.

What to do
----------
Clean or drop the sample at its source, or mask it before the first operation that reads it (a mask after it is too
late: NaN times 0 is NaN). Scan the other files too.

Example
-------
::

    x = torch.tensor(frame[columns].to_numpy())                   # a missing cell is NaN
    x = torch.tensor(frame[columns].fillna(medians).to_numpy())   # and is not any more

References
----------
ds4dm/ecole#324, ecmwf/WeatherGenerator#356
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import bad_leaf, birth
from stayfinite.catalog.clues import birth_location as locate
from stayfinite.catalog.predictions import without_gaps
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction

TITLE = "Non-finite value in the data"
PRIOR = prior(threads=2)
APPLIES_TO = Scope(phases=frozenset({"data", "forward", "loss"}))
EXAMPLES = ("nonfinite-input", "two-task-trainer", "co2-lstm")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The origin's phase, the batch as it was before the step, and whether single samples are concerned."""
    found = [_where(case)]
    made = birth(case)
    if made is not None and made.op in ("div", "reciprocal", "log", "log1p", "sqrt", "pow"):
        found.append(Evidence(f"it was computed from finite values before the step: {made.how}", -2.0, "born-by"))
    elif made is not None and made.location.file:
        found.append(Evidence(f"it was there before the step: {made.how}", 1.0, "born-by"))
    samples = case.origin.samples if case.origin is not None else ()
    if samples and case.batch_size and len(samples) < case.batch_size:
        named = ", ".join(str(sample) for sample in samples[:5])
        found.append(Evidence(f"only sample {named} of {case.batch_size} is concerned", 1.0, "samples"))
    return found


def _where(case: Case) -> Evidence:
    origin = case.origin
    if origin is not None and (origin.phase == "data" or origin.op == "input"):
        leaf = next((one for one in case.trace.leaves if one.name in {s.name for s in origin.inputs}), None)
        if leaf is not None and leaf.kind == "scalar":
            return Evidence(f"the script writes `{leaf.name}` itself", 7.0, "origin-leaf")
        if leaf is not None and leaf.kind == "other":
            return Evidence(f"`{leaf.name}` was non-finite before any operation ran", 7.0, "origin-leaf")
        return Evidence("the value was in the batch before any operation ran", 10.0, "origin-leaf")
    bad = next((stats for stats in case.batch if stats.nonfinite), None)
    if bad is not None or bad_leaf(case, "batch") is not None:
        if origin is not None:
            return Evidence("the batch holds non-finite values, but the origin is an operation that read none of them",
                            -4.0, "origin-leaf")
        name = bad.name if bad is not None else "the batch"
        return Evidence(f"`{name}` holds non-finite values", 6.0, "origin-leaf")
    if case.batch:
        return Evidence("every value of the batch is finite", -10.0, "origin-leaf")
    return Evidence("nothing is known to be wrong with the batch", -3.0, "origin-leaf")


def predict(case: Case) -> list[Prediction]:
    """With the gaps of the batch filled the step passes, and without the samples that have them."""
    return without_gaps(case)
