"""The loss leaves the best it has had and does not come back.

What it watches
---------------
The loss of every step (series ``loss``), as long as it is positive: a series that reaches 0 or below has no ratios,
and is left alone from then on.

When it fires
-------------
When three readings in a row are above the limit: 5 times the best moving average so far, or e^3s times it where the
readings' own noise s (standard deviation of their logarithm) asks for more, and in any case half of where the loss
began. The best of few readings is little known: after n of them the distance to it, in logarithms, is 1 + 2/sqrt(n)
times as long (15 times the best after 9 readings, 7 times after 100). The moving average is of the logarithm, with
weight 0.05. It fires once, and again only after the loss came back below the limit.

A schedule that jumps back to a rate it had before is meant to throw the loss out of where it is. From then on the loss has
to stay above the limit for as many readings as the cycle before took, or to be a thousand times above it.

Where the limit comes from
--------------------------
5 times the best was the one threshold without a false alarm in 18 healthy runs, where 2 times the best had 3 and 3
times the initial loss had 1. A plain moving average of the loss cries wolf on noisy ones (2 to 10 times in 10,000 steps
of heavy-tailed noise, as with one sample per batch); with logarithms, the noise term and three in a row there was no
alarm in 80 healthy runs of 20 kinds (28,800 steps) and at most 0.03 in 10,000 steps of that noise. The term of few
readings is for losses that rise to a plateau while an agent finds out what its world is like: without it, 139 of 400
simulated ones were called divergent, with it 28. Of 36 divergent runs it saw 26 before they ended; four of the others
have a loss below 0. Where the rate rose slowly it was 5 to 240 steps early, where it jumped 0 to 3.

What to do
----------
Training goes on, as nothing is non-finite yet. Lower the learning rate, or go back to a checkpoint from before.
"""

from __future__ import annotations

import math

from stayfinite.catalog.detection import Detection, first_of
from stayfinite.records.numbers import Number
from stayfinite.records.series import Window

WATCHES = ("loss",)
STOPS = False

FACTOR = 5.0
SIGMAS = 3.0
WEIGHT = 0.05
SHARE_OF_FIRST = 0.5
IN_A_ROW = 3
RUNAWAY = 1000.0
"""So many times the limit no restart is meant to reach."""
LEARNING = 3
FEW = 2.0
FIRST_DEVIATION = 0.3
SOURCE = "5 times the best moving average: no false alarm in 18 healthy runs, nor with the noise term in 80 others"

FIRES: tuple[tuple[Number, ...], ...] = (
    (2.3, 2.1, 2.0, 1.9, 1.8, 12.0, 40.0, 160.0, 900.0),
    (1.0, 0.9, 0.8, 5.1, 26.0, 130.0, 650.0, 3200.0),
    (2.3, 1.1, 0.9, *(0.5 * 1.4**k for k in range(16))),
)
SILENT: tuple[tuple[Number, ...], ...] = (
    (),
    (2.3, 2.1, 1.9, 1.7, 1.5, 1.6, 1.4, 1.3),
    (2.3, 1.0, 0.1, 0.01, 0.001, 0.02, 0.03, 0.04, 0.02),  # twenty times the best, far below where it began
    (2.0, 1.8, 1.7, 30.0, 1.6, 1.5, 1.4),  # one bad batch
    (0.5, 0.1, -0.2, -0.6, 4.0, 5.0, 6.0, 7.0),  # a log-likelihood: no ratios
    (0.021, 0.018, 0.03, 0.078, 0.049, 0.054, 0.067, 0.099, 0.27, 0.26, 0.25, 0.34, 0.3, 0.23, 0.24, 0.36),  # an agent
    (9.0, 8.0, 0.4, 7.0, 0.2, 6.0, 9.0, 0.3, 8.0, 7.0, 0.2, 9.0, 0.1, 8.0, 9.0, 9.0, 7.0),  # one sample per batch
)


class Running:
    """The detector between two readings. All fields are logarithms, except the counts."""

    __slots__ = ("_above", "_began", "_best", "_far", "_first", "_mean", "_noise", "_patience", "_seen", "_told", "_variance")

    def __init__(self) -> None:
        self._seen = 0
        self._above = 0
        self._far = 0
        self._told = False
        self._began = 0
        self._patience = IN_A_ROW
        self._first = -math.inf
        self._mean = 0.0
        self._best = math.inf
        self._noise = 0.0
        self._variance = FIRST_DEVIATION**2

    def begin_cycle(self) -> None:
        """A schedule began its next cycle: losses may leave the best for as many readings as the last one took."""
        if self._seen >= 0:
            self._patience = max(IN_A_ROW, self._seen - self._began)
            self._began = self._seen

    def update(self, step: int, value: float) -> Detection | None:
        """Judge one reading. Non-finite readings are another detector's business and change nothing."""
        if self._seen < 0 or not math.isfinite(value):
            return None
        if value <= 0.0:
            self._seen = -1
            return None
        reading = math.log(value)
        self._seen += 1
        if self._seen <= LEARNING:
            # The largest of the first few, not the first: one lucky batch must not become the best for ever.
            self._first = max(self._first, reading)
            if self._seen == LEARNING:
                self._mean = self._first
                self._improve()
            return None
        few = 1.0 + FEW / math.sqrt(self._seen)
        limit = max(self._best + self._noise * few, self._first + math.log(SHARE_OF_FIRST))
        if reading > limit:
            self._above += 1
            self._far = self._far + 1 if reading > limit + math.log(RUNAWAY) else 0
            if self._told or (self._above < self._patience and self._far < IN_A_ROW):
                return None
            self._told = True
            return Detection(step, value, f"at most {math.exp(min(limit, 700.0)):.4g}", SOURCE)
        self._above = self._far = 0
        self._told = False
        distance = reading - self._mean
        self._mean += WEIGHT * distance
        self._variance = (1.0 - WEIGHT) * (self._variance + WEIGHT * distance * distance)
        if self._mean < self._best:
            self._improve()
        return None

    def _improve(self) -> None:
        """The noise is that of the best time: a series on its way up has more of it with each reading."""
        self._best = self._mean
        self._noise = max(math.log(FACTOR), SIGMAS * math.sqrt(self._variance))


def detect(window: Window) -> Detection | None:
    """The first divergence in `window`, which is taken as the whole history; ``None`` if there is none."""
    return first_of(Running(), window)
