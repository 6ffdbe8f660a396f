"""A learning rate is NaN or infinite.

What it watches
---------------
The largest learning rate over all parameter groups, every step (series ``learning_rate``).

When it fires
-------------
At the first reading that is NaN or infinite.

Where the limit comes from
--------------------------
There is no threshold. Rate times gradient is the update.

What to do
----------
Look at the schedule: a division by a number of steps that is 0, a power of a negative number, a logarithm of step 0.
"""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, first_nonfinite
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("learning_rate",)
STOPS = True

FIRES: tuple[tuple[Number, ...], ...] = (("nan",), (0.1, 0.05, "+inf"))
SILENT: tuple[tuple[Number, ...], ...] = ((), (0.1, 0.05, 0.0))


def detect(window: Window) -> Detection | None:
    """The first non-finite reading of `window`, or ``None``."""
    return first_nonfinite(window)
