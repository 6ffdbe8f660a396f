"""One sample is thousands of times larger than the others.

What happens
------------
A sensor glitch, a unit mixed up, a fill value (-9999, 1e20) taken for a measurement, a file read at the wrong offset:
one row holds a number that is finite and absurd. Squared or summed it overflows, or its gradient throws the parameters
to where every later step fails.

How to recognise it
-------------------
The largest magnitude of the batch lies in one row and is a thousand times that of a typical row, while the other rows
are of ordinary size. If the failure is in single samples, that row is among them.

What to do
----------
Look at the row in its source. Drop or repair it there, or clip features and targets to a range that you can defend.
Scaling all of the data is no cure: the row stays as far away from the others as before.

Example
-------
::

    series = torch.tensor(sensor.to_numpy())                      # 1e25 where the cable was loose
    series = torch.tensor(sensor.mask(sensor.abs() > 200.0).interpolate().to_numpy())

References
----------
The fill values are those of netCDF (9.97e36 for floats) and of weather services (-9999).
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import amplitude, finite
from stayfinite.catalog.clues import birth_location as locate
from stayfinite.catalog.histories import too_large
from stayfinite.catalog.predictions import filled, without_samples
from stayfinite.catalog.scales import OUTLYING, features, outlier, targets
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction, Rows, Values
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

TITLE = "One sample far outside the others"
PRIOR = prior(threads=1)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("loose-cable", "sea-maps")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """How far the largest row lies from a typical one, and whether it is the one that failed."""
    known = (*targets(case), *features(case))
    found = [held for stats in known if (held := outlier(case, stats)) is not None]
    if not found:
        return [Evidence("no row of the batch lies far outside the others", -8.0, "row-size")]
    worst = max(found, key=_excess)
    excess = _excess(worst)
    bits = 6.0 if excess >= 1e8 else 5.0 if excess >= 1e5 else 4.0
    size, typical = show(amplitude(worst)), show(worst.typical_row or 0.0)
    at = ", ".join(map(str, worst.absmax_index))
    told = [Evidence(f"`{worst.name}[{at}]` reaches {size}, a typical row {typical}", bits, "row-size"), *too_large(case)]
    if worst.absmax_count > 1:
        told.append(Evidence(f"exactly {size} stands there {worst.absmax_count} times: a code and no glitch", -4.0, "row-count"))
    samples = case.origin.samples if case.origin is not None else ()
    if samples and worst.absmax_index and worst.shape[0] == case.batch_size:
        row = worst.absmax_index[0]
        if row in samples:
            told.append(Evidence(f"row {row} is among the samples that failed", 2.5, "samples"))
        else:
            told.append(Evidence(f"other samples failed than row {row}", -4.0, "samples"))
    return told


def _excess(stats: TensorStats) -> float:
    typical = finite(stats.typical_row)
    return amplitude(stats) / typical if typical else 0.0


def predict(case: Case) -> list[Prediction]:
    """Without the sample the step passes; where the batch is not seen as a whole, with an ordinary number in its place."""
    if without_samples(case):
        return without_samples(case)
    held = [stats for stats in case.batch if outlier(case, stats) is not None and stats.absmax_index]
    rows = tuple(sorted({stats.absmax_index[0] for stats in held if stats.shape[:1] == (case.batch_size,) and stats.absmax_count == 1}))
    if rows and case.batch_size is not None:
        return [Prediction(Rows(rows, case.batch_size))]
    given = [stats for stats in (*targets(case), *features(case)) if outlier(case, stats) is not None]
    names = tuple(dict.fromkeys(stats.name for stats in given))
    limit = OUTLYING * max((finite(stats.typical_row) or 0.0 for stats in given), default=0.0)
    if sum(stats.name in names for stats in case.trace.model_inputs) > 1:
        # several batches were gone through at once: the sample may have done its harm in an earlier one
        return [Prediction(Values(names[0], "filled", limit, also=names[1:]), steps=case.step_of_run + 1)]
    return filled(case, names, limit)
