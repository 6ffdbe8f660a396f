"""A buffer, for example a running variance, is NaN or infinite.

What it watches
---------------
The L2 norm over all floating-point buffers that are part of the model's state, sampled and whenever something is
suspicious (series ``buffer_norm``). Buffers that hold an intended infinity (an additive mask) are left out by the
sensor.

When it fires
-------------
At the first reading that is NaN or infinite.

Where the limit comes from
--------------------------
There is no threshold. Training may go on for a long time, as training mode does not read running statistics;
evaluation then gives NaN.

What to do
----------
Reset the buffer, and keep the batch that spoiled it away: one value per channel, or a non-finite sample.
"""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, first_nonfinite
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("buffer_norm",)
STOPS = True

FIRES: tuple[tuple[Number, ...], ...] = (("nan",), (3.0, "nan", "nan"))
SILENT: tuple[tuple[Number, ...], ...] = ((), (3.0, 3.1, 3.2))


def detect(window: Window) -> Detection | None:
    """The first non-finite reading of `window`, or ``None``."""
    return first_nonfinite(window)
