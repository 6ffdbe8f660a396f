"""A gradient is NaN or infinite, whatever the loss says.

What it watches
---------------
The L2 norm over all gradients of every step, before any clipping (series ``gradient_norm``). Squares can overflow
although every gradient is finite, so a sensor reads +inf only after an element-wise check has confirmed it.

When it fires
-------------
At the first reading that is NaN or infinite.

Where the limit comes from
--------------------------
There is no threshold. One non-finite gradient makes a non-finite parameter in every optimizer; clipping it spreads it
to all others (NaN norm) or zeroes the finite ones (infinite norm).

What to do
----------
If the loss of the same step was finite, the failure was born in the backward pass: look for a root, norm, power or
division at the edge of its domain, for a ``where`` that hides an infinity, and for a format with too little range."""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, first_nonfinite
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("gradient_norm",)
STOPS = True

FIRES: tuple[tuple[Number, ...], ...] = (("nan",), (0.8, 1.1, "+inf"))
SILENT: tuple[tuple[Number, ...], ...] = ((), (0.8, 1.1, 0.9), (0.0, 1e300))


def detect(window: Window) -> Detection | None:
    """The first non-finite reading of `window`, or ``None``."""
    return first_nonfinite(window)
