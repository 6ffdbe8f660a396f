"""The loss is NaN or infinite.

What it watches
---------------
The loss of every step, before its backward pass runs (series ``loss``).

When it fires
-------------
At the first reading that is NaN, +inf or -inf. Size does not matter: 1e300 is a finite loss.

Where the limit comes from
--------------------------
There is no threshold. A non-finite loss has no usable gradient, so the step cannot be committed. The one exception is
a NaN loss whose gradients are exactly zero (every label ignored): it is reported and does no harm.

What to do
----------
Read the origin: the first operation of that step that made a non-finite value out of finite ones.
"""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, first_nonfinite
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("loss",)
STOPS = True

FIRES: tuple[tuple[Number, ...], ...] = (("nan",), (2.3, 1.9, "+inf"), (0.5, "-inf", 0.4))
SILENT: tuple[tuple[Number, ...], ...] = ((), (2.3, 1.9, 1.7), (1e300, -1e300, 0.0))


def detect(window: Window) -> Detection | None:
    """The first non-finite reading of `window`, or ``None``."""
    return first_nonfinite(window)
