"""A parameter is NaN or infinite.

What it watches
---------------
The L2 norm over all parameters, sampled and whenever something is suspicious (series ``parameter_norm``).

When it fires
-------------
At the first reading that is NaN or infinite.

Where the limit comes from
--------------------------
There is no threshold. Every later step computes with this value.

What to do
----------
If it is the first step, look at how parameters are made or loaded. If not, look at what wrote them since the last
good step: the optimizer, or an assignment of your own."""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, first_nonfinite
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("parameter_norm",)
STOPS = True

FIRES: tuple[tuple[Number, ...], ...] = (("nan",), (41.0, 41.2, "+inf"))
SILENT: tuple[tuple[Number, ...], ...] = ((), (41.0, 41.2, 41.3), (0.0, 1e300))


def detect(window: Window) -> Detection | None:
    """The first non-finite reading of `window`, or ``None``."""
    return first_nonfinite(window)
