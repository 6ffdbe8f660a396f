"""A code for "no value" was taken for a measurement.

What happens
------------
Archives and instruments write a number where there is none: 9.96921e36 in netCDF, 1e20, -9999, -32768, the largest number
of a format. Read as a measurement it is finite and absurd, and it stands in many places at once. Squared or summed it
leaves the format, or its gradient throws the parameters to where every later step fails.

How to recognise it
-------------------
The largest magnitude of the batch is a thousand times that of ordinary values, and exactly the same number stands in several
places. A glitch of a sensor is there once and is no round number.

What to do
----------
Make the code a missing value where the file is read (`na_values=`, `masked_where`, the `_FillValue` of the variable), then
decide what a missing value means: leave the row out, interpolate, or mask it in the loss.

Example
-------
::

    field = torch.from_numpy(archive["sst"][:])                      # 9.96921e36 over land
    field = torch.from_numpy(np.where(raw < 1e30, raw, np.nan))      # and then: masked in the loss

References
----------
netCDF-C, `NC_FILL_FLOAT` 9.9692099683868690e+36; CF conventions, `missing_value` 1e20; weather services, -9999 and -999.
"""

from __future__ import annotations

import math

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import amplitude, finite
from stayfinite.catalog.clues import birth_location as locate
from stayfinite.catalog.histories import too_large
from stayfinite.catalog.predictions import filled, without_samples
from stayfinite.catalog.scales import OUTLYING, features, targets
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

TITLE = "A code for a missing value taken for a number"
PRIOR = prior(threads=1)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("coast-mask", "meter-codes")
CODES = (9.96921e36, 1e20, 1e30, 1e35, 1e36, 1e37, 9999.0, 999.0, 99999.0, 999999.0, 9999999.0, 32768.0, 32767.0, 65535.0, 2147483648.0,
         2147483647.0, 3.4028235e38, 1.7976931348623157e308, 9.999e20, 9.999e3, 1e15)
"""Magnitudes that stand for "missing" in netCDF, CF, GRIB, weather services, and the ends of common formats."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """How often the largest magnitude of the batch occurs, how far it lies from ordinary values, and if it is a known code."""
    found = [held for stats in (*targets(case), *features(case), *case.batch) if (held := _coded(stats)) is not None]
    if not found:
        return [Evidence("no absurd number stands in the batch more than once", -9.0, "row-size")]
    worst = max(found, key=amplitude)
    size, count = amplitude(worst), worst.absmax_count
    told = [
        Evidence(f"{show(size)} stands in `{worst.name}` {count} times, a typical row reaches {show(worst.typical_row or 0.0)}",
                 7.0, "row-size"),
        *too_large(case),
    ]
    samples = case.origin.samples if case.origin is not None else ()
    width = math.prod(worst.shape[1:])
    if len(samples) == 1 and count <= width < 3 * count:
        told.append(Evidence("it fills most of one row: that row is on another scale", -6.0, "spread"))
    if any(math.isclose(size, code, rel_tol=1e-5) for code in CODES):
        told.append(Evidence(f"{show(size)} is a usual code for a missing value", 3.0, "code"))
    return told


def _coded(stats: TensorStats) -> TensorStats | None:
    typical = finite(stats.typical_row)
    size = amplitude(stats)
    apart = typical is not None and 0.0 < typical and size >= OUTLYING * typical
    return stats if stats.absmax_count > 1 and (apart or size >= 1e15) else None


def predict(case: Case) -> list[Prediction]:
    """With the code replaced by ordinary values the step passes, and without the samples that hold it."""
    held = [stats for stats in case.batch if _coded(stats) is not None]
    held = held or [stats for stats in (*targets(case), *features(case)) if _coded(stats) is not None]
    names = tuple(dict.fromkeys(stats.name for stats in held))
    return [*filled(case, names, 0.5 * min(map(amplitude, held), default=0.0)), *without_samples(case)]
