"""One loss jumps far out of what the last ones were.

What it watches
---------------
The loss of every step (series ``loss``), as long as it is positive.

When it fires
-------------
When a reading lies more than 6 standard deviations above the moving average of the last 40, both taken of the
logarithm, is at least twice that average, and at least a fifth of the first loss. The first ten readings only teach.

Where the limit comes from
--------------------------
6 standard deviations over a moving average of the logarithm with a floor of 0.05 had no false alarm in 18 healthy
runs. With a window of 20 it had 2 in 80 others, with 40 none (28,800 steps).

What to do
----------
Training goes on. A single spike is usually one batch: look at its samples. Spikes that come more and more often
announce a step size that is too high."""

from __future__ import annotations

from stayfinite.catalog.detection import Detection, SpikeMeter, first_of
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("loss",)
STOPS = False
SHARE_OF_FIRST = 0.2

_QUIET = (2.3, 2.25, 2.2, 2.21, 2.1, 2.15, 2.05, 2.0, 2.02, 1.95, 1.9, 1.92, 1.88)

FIRES: tuple[tuple[Number, ...], ...] = ((*_QUIET, 9.0), (*_QUIET, 1.85, 1.86, 40.0, 1.9))
SILENT: tuple[tuple[Number, ...], ...] = (
    (),
    _QUIET,
    (2.3, 30.0),  # nothing learnt yet
    (*_QUIET, 2.6),
    (*_QUIET, -1.0, 9.0),
    (3.0, 0.2, 2.0, 0.1, 4.0, 0.3, 1.0, 0.05, 2.0, 0.4, 3.0, 0.1, 5.0),
)


class Running(SpikeMeter):
    """The detector between two readings."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(SHARE_OF_FIRST)


def detect(window: Window) -> Detection | None:
    """The first spike in `window`, which is taken as the whole history; ``None`` if there is none."""
    return first_of(Running(), window)
