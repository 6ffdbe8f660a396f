"""Updates are taken and change nothing.

What it watches
---------------
At looks (updates 5, 20, and every 50th) the share of the parameters that differ from the look before (series
``moved_share``); and where the script clips its gradients by norm, the factor by which each clipping scales them (series
``clip_factor``).

When it fires
-------------
At the third look in a row at which no parameter had moved, or the third clipping in a row whose factor is below
1e-10. It fires once, and again only after something moved.

Where the limit comes from
--------------------------
No parameter moves by less than the spacing of its floating-point numbers: in float32 that is 6e-8 of its value, and the
product of a factor of 1e-10 with a rate of at most 1 stays below it for every gradient that is smaller than 600 times the
parameters. Two looks are at least 15 updates apart, so that a warm-up from rate 0 and updates that a scaler skips while it
finds its scale are over. A rate of exactly 0 is somebody's choice and is not told: the repetition of a step must show that
the update had a rate and a gradient.

What to do
----------
Look at what stands between gradient and parameter: the limit of the clipping, the precision of the parameters against the
size of the updates, whether the optimizer has the model's parameters at all.
"""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, first_of
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("moved_share", "clip_factor")
STOPS = False

NOTHING = 1e-10
IN_A_ROW = 3
SOURCE = "an update that is 1e-10 of a gradient is below the spacing of float32 parameters"

FIRES: tuple[tuple[Number, ...], ...] = (
    (0.0, 0.0, 0.0),
    (1.0, 1e-20, 1e-20, 1e-20),
)
SILENT: tuple[tuple[Number, ...], ...] = (
    (),
    (1.0, 1.0, 0.97, 1.0),
    (0.0, 0.0, 1.0, 1.0),  # a warm-up from rate 0
    (1.0, 1e-20, 0.3, 1.0),  # one exploding batch, clipped away
)


class Running:
    """The detector between two readings."""

    __slots__ = ("_stalled",)

    def __init__(self) -> None:
        self._stalled = 0

    def update(self, step: int, value: float) -> Detection | None:
        """Judge one reading."""
        if not value < NOTHING:
            self._stalled = 0
            return None
        self._stalled += 1
        return Detection(step, max(value, 0.0), f"at least {NOTHING:g}", SOURCE) if self._stalled == IN_A_ROW else None


def detect(window: Window) -> Detection | None:
    """The first stall in `window`; ``None`` if there is none."""
    return first_of(Running(), window)
