"""The gradient norm jumps far out of what the last ones were.

What it watches
---------------
The L2 norm over all gradients of every step, before any clipping (series ``gradient_norm``), as long as it is
positive.

When it fires
-------------
When a reading lies more than 6 standard deviations above the moving average of the last 40, both taken of the
logarithm, and is at least twice that average. The first ten readings only teach.

Where the limit comes from
--------------------------
6 standard deviations over a moving average of the logarithm with a floor of 0.05 had no false alarm in 18 healthy
runs. With a window of 20 it had 2 in 80 others, with 40 none (28,800 steps).

What to do
----------
Training goes on. A jump by many powers of ten with an ordinary loss is a slope near a singular point (a normalised
zero vector has a slope of 1e9), or an explosion through depth or time: clip the norm, and look at what made it."""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, SpikeMeter, first_of
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("gradient_norm",)
STOPS = False

_QUIET = (0.8, 0.9, 0.85, 0.7, 0.75, 0.8, 0.95, 0.8, 0.7, 0.72, 0.81, 0.78, 0.8)

FIRES: tuple[tuple[Number, ...], ...] = ((*_QUIET, 8.0), (*_QUIET, 1e9))
SILENT: tuple[tuple[Number, ...], ...] = (
    (),
    _QUIET,
    (0.8, 1e9),  # nothing learnt yet
    (*_QUIET, 1.2),
    (*_QUIET, 0.0, 8.0),
    (5.0, 0.1, 3.0, 0.02, 6.0, 0.4, 1.0, 0.05, 2.0, 0.4, 3.0, 0.1, 9.0),
)


class Running(SpikeMeter):
    """The detector between two readings."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0.0)


def detect(window: Window) -> Detection | None:
    """The first spike in `window`, which is taken as the whole history; ``None`` if there is none."""
    return first_of(Running(), window)
