"""The loss has not fallen at all since the training began.

What it watches
---------------
The loss of every step (series ``loss``).

When it fires
-------------
At readings 60, 150 and 400: if the mean of the last third of all readings is not below that of the first third by at least
half of the standard error of their difference, and this error is at most a twentieth of the first mean. Where the last
third is still at nine tenths of the first one or more, it must be below the middle third as well. It fires once.

Where the limit comes from
--------------------------
A training that learns leaves the mean of its first steps by many standard errors within 60 readings. Where the error is
larger than a twentieth, noise hides what there is to see (one sample per batch: 25 % at 60 readings, 12 % at 400), and
nothing is said. A network that learns nothing else still finds its output's bias, in its first ten or twenty steps: from 2.40
to 2.30 with ten classes. That is no learning, so a fall of less than a tenth has to go on in the middle third. A series
without a trend falls below half a standard error by chance in one of three: the limit is generous because nothing is told on
it alone. Losses of adversaries and agents need not fall, and a training that begins from a trained model has nowhere to fall;
so the repetition of a step must show why nothing is learned.

What to do
----------
Look at what the report found in the repeated step: dead or saturated units, a loss that does not fit the output, a gradient
that ends or vanishes, parameters that no optimizer has.
"""

from __future__ import annotations

import math

from stayfinite.catalog.detection import Detection, first_of
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("loss",)
STOPS = False

LOOKS = (60, 150, 400)
ERRORS = 0.5
KNOWN = 0.05
STAYED = 0.9
SOURCE = "half a standard error below the first third of the readings: a training that learns leaves them by many within 60"

FIRES: tuple[tuple[Number, ...], ...] = (
    (2.302585,) * 60,
    tuple(0.69 + 0.05 * math.sin(k * 1.7) for k in range(160)),
    tuple(2.303 + 0.12 * 0.7**k + 0.01 * math.sin(k * 1.7) for k in range(60)),  # the output's bias, and nothing else
)
SILENT: tuple[tuple[Number, ...], ...] = (
    (),
    (2.302585,) * 50,
    tuple(2.3 * 0.97**k for k in range(160)),
    tuple(0.7 - 0.0005 * k + 0.01 * math.sin(k * 1.7) for k in range(160)),
    (*(2.3 * 0.9**k for k in range(40)), *(0.03 + 0.01 * math.sin(k * 1.7) for k in range(400))),  # converged
)


class Running:
    """The detector between two readings: the first 400 of them, and none once it is done."""

    __slots__ = ("_readings", "_seen")

    def __init__(self) -> None:
        self._seen = 0
        self._readings: list[float] = []

    def update(self, step: int, value: float) -> Detection | None:
        """Judge one reading. Non-finite readings are another detector's business and change nothing."""
        if self._seen >= LOOKS[-1] or not abs(value) < 1e150:  # the square of a distance must not overflow
            return None
        self._readings.append(value)
        self._seen += 1
        if self._seen not in LOOKS:
            return None
        third = self._seen // 3
        first, noise = _mean_and_error(self._readings[:third])
        middle, middle_noise = _mean_and_error(self._readings[third:-third])
        last, later_noise = _mean_and_error(self._readings[-third:])
        if middle < first and 0.0 < STAYED * first <= last:
            first, noise = middle, middle_noise
        error = math.hypot(noise, later_noise)
        limit = first - ERRORS * error
        found = None
        if last >= limit and error <= KNOWN * abs(first):
            self._seen = LOOKS[-1]
            found = Detection(step, value, f"less than {limit:.4g} on average by now", SOURCE)
        if self._seen >= LOOKS[-1]:
            self._readings.clear()
        return found


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean of `values` and its standard error."""
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (len(values) - 1) / len(values))


def detect(window: Window) -> Detection | None:
    """Whether `window`, which is taken as the whole history, is a plateau; ``None`` if it is not."""
    return first_of(Running(), window)
