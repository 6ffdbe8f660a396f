"""A moment of an optimizer is NaN or infinite.

What it watches
---------------
The L2 norm over all floating-point optimizer state, sampled and whenever something is suspicious (series
``moment_norm``).

When it fires
-------------
At the first reading that is NaN or infinite. An infinite second moment alone is told as `frozen-moment`.

Where the limit comes from
--------------------------
There is no threshold. An infinite second moment makes every later update of that element exactly zero: the parameter
is frozen for ever and nothing else shows it. In float32 this takes a gradient of about 5.8e20 with beta2 = 0.999 (g *
g * (1 - beta2) > 3.4e38).

What to do
----------
Look at the gradient that did it, and at what restored the optimizer's state.
"""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, first_nonfinite
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("moment_norm",)
STOPS = True

FIRES: tuple[tuple[Number, ...], ...] = (("+inf",), (0.1, 0.2, "nan"))
SILENT: tuple[tuple[Number, ...], ...] = ((), (0.0, 0.1, 1e30))


def detect(window: Window) -> Detection | None:
    """The first non-finite reading of `window`, or ``None``."""
    return first_nonfinite(window)
