"""The gradient of one step is ten thousand times what it usually is, and finite.

What it watches
---------------
The L2 norm over all gradients of every step, before any clipping (series ``gradient_norm``).

When it fires
-------------
When a reading is at least 1e4 times the moving average of the last 40 readings, both taken of the logarithm, and at least
1e4 times the largest of them so far; zeros are passed over. The first ten readings teach, and fire only at 1e9 or more: an
optimizer that is made for the next phase of a training has no past of its own. It fires once, and again only after the norm
came back.

Where the limit comes from
--------------------------
A judgement, not a measurement: heavy-tailed gradients (one sample per batch, recurrent networks, policy gradients) jump by
ten or a hundred, and two powers of ten are left as a margin. A slope at a singular point (a normalised zero vector: 1e12
times the gradient; the root of a number next to 0) gives 1e5 and more. The step is repeated, and the jump is told only if
one operation is found whose slope made it: among the first ten readings one of at least 1e8, as targets that were never
scaled (prices, squared) have gradients of 1e9 through ordinary slopes.

What to do
----------
Such a step destroys what was learned if it is taken unclipped: look at the operation that the report names, and add an
epsilon inside of it.
"""

from __future__ import annotations

import math

from stayfinite.catalog.detection import Detection, first_of
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("gradient_norm",)
STOPS = False

FACTOR = 1e4
WEIGHT = 2.0 / 41.0
LEARNING = 10
AT_ONCE = 1e9
"""A gradient that needs no past to be out of the ordinary; the survey decides."""
SOURCE = "1e4 times the usual and the largest so far: a judgement, two powers of ten above heavy-tailed gradients"

_QUIET = (0.8, 0.9, 0.85, 0.7, 0.75, 0.8, 0.95, 0.8, 0.7, 0.72, 0.81, 0.78, 0.8)

FIRES: tuple[tuple[Number, ...], ...] = ((*_QUIET, 3e9), (*_QUIET, 0.7, 5e4, 0.9), (4e10, 7e10, 2e10))
SILENT: tuple[tuple[Number, ...], ...] = (
    (),
    _QUIET,
    (*_QUIET, 90.0),
    (0.8, 1e8),  # nothing learnt yet
    (*(10.0**-k for k in range(12)), 1.0),  # converged, and one new batch
    (5.0, 0.1, 3.0, 0.02, 600.0, 0.4, 1.0, 0.05, 2.0, 0.4, 3000.0, 0.1, 9.0),
)


class Running:
    """The detector between two readings. The mean and the largest are logarithms."""

    __slots__ = ("_above", "_largest", "_mean", "_seen")

    def __init__(self) -> None:
        self._seen = 0
        self._mean = 0.0
        self._largest = -math.inf
        self._above = False

    def update(self, step: int, value: float) -> Detection | None:
        """Judge one reading. Non-finite readings are another detector's business and change nothing."""
        if not 0.0 < value < math.inf:
            return None
        reading = math.log(value)
        seen = self._seen
        if seen < LEARNING and value >= AT_ONCE:
            first, self._above = not self._above, True
            return Detection(step, value, f"at most {AT_ONCE:g}", SOURCE) if first else None
        self._seen = seen + 1
        if seen == 0:
            self._mean = self._largest = reading
            return None
        limit = max(self._mean, self._largest) + math.log(FACTOR)
        if seen >= LEARNING and reading > limit:
            first, self._above = not self._above, True
            return Detection(step, value, f"at most {math.exp(min(limit, 700.0)):.4g}", SOURCE) if first else None
        self._above = False
        self._mean += WEIGHT * (reading - self._mean)
        self._largest = max(self._largest, reading)
        return None


def detect(window: Window) -> Detection | None:
    """The first explosion in `window`, which is taken as the whole history; ``None`` if there is none."""
    return first_of(Running(), window)
