"""A moment of an optimizer is infinite while the parameters are finite: these weights never move again.

What it watches
---------------
The L2 norm over all floating-point optimizer state, sampled, and looked at when state is saved or the script ends
(series ``moment_norm``).

When it fires
-------------
At the first reading that is plus infinity. A NaN is a `nonfinite-moment`, and so is an infinite average of gradients: the
next update adds it to the parameters.

Where the limit comes from
--------------------------
There is no threshold. An update is divided by the root of the second moment: by an infinite one it is exactly 0, and an
average that is infinite stays so for ever. The loss may go on falling by what the other weights learn, so that nothing
else shows it.

What to do
----------
Look at what wrote the moment: a state that was loaded, a conversion to half precision, a hand-written update.
"""

from __future__ import annotations

from stayfinite.catalog.detection import Detection
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("moment_norm",)
STOPS = True

FIRES: tuple[tuple[Number, ...], ...] = (("+inf",), (0.1, 0.2, "+inf"))
SILENT: tuple[tuple[Number, ...], ...] = ((), (0.0, 0.1, 1e30), ("nan",))


def detect(window: Window) -> Detection | None:
    """The first reading of `window` that is plus infinity."""
    for step, value in zip(window.steps, window.values, strict=False):
        if value == "+inf":
            return Detection(step=step, value=value)
    return None
