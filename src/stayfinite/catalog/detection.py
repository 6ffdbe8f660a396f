"""What a detector says, and what it is made of.

A detector is a module in `catalog/detectors/`, its id is its file name with hyphens. It declares

- `WATCHES`: names of the series it judges; `STOPS`: True if a step with this symptom cannot be committed;
- `detect(window)`: the first `Detection` in a window of readings, or ``None``;
- `FIRES`, `SILENT`: lists of numbers with and without the symptom, which are its documentation and its tests;
- for finite symptoms `Running`, the same judgement one reading at a time.

A series is a plain list of numbers: detectors know no framework and no file format.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import msgspec

from stayfinite.records.numbers import Number, is_finite, to_float, to_number
from stayfinite.records.series import Window

Series = Literal[
    "loss", "gradient_norm", "parameter_norm", "buffer_norm", "moment_norm", "learning_rate", "moved_share", "clip_factor"
]
"""Series that detectors watch. Norms are L2 over everything of that kind in the step. `moved_share`: of the parameters that
differ from the look before; `clip_factor`: by which clipping by norm scales the gradients."""

FINITE_STATE = "a finite state is the definition of a step that can be committed"


class Detection(msgspec.Struct, frozen=True):
    """A detector fired: at `step`, on `value`, which was held against `limit` (in words), and `limit_source` says where
    that comes from. The three texts go into a `Symptom` unchanged."""

    step: int
    value: Number
    limit: str = "finite"
    limit_source: str = FINITE_STATE


class RunningDetector(Protocol):
    """A finite detector between two readings."""

    def update(self, step: int, value: float) -> Detection | None:
        """Judge the reading `value` of `step`. Constant time and memory."""


def first_nonfinite(window: Window) -> Detection | None:
    """The first reading of `window` that is NaN or infinite."""
    for step, value in zip(window.steps, window.values, strict=False):
        if not is_finite(value):
            return Detection(step=step, value=to_number(to_float(value)))
    return None


def first_of(running: RunningDetector, window: Window) -> Detection | None:
    """Feed `window` to `running` and return the first detection."""
    for step, value in zip(window.steps, window.values, strict=False):
        found = running.update(step, to_float(value))
        if found is not None:
            return found
    return None


class SpikeMeter:
    """Readings that jump out of a positive series: more than 6 deviations above its moving average, in logarithms.

    The moving average and variance of ln(reading) have weight 2 / (window + 1). Deviations are at least 0.05 (a very
    quiet series is not made sensitive to one part in a hundred). A reading must also be at least twice the average and
    at least `share` of the first reading. The first ten readings only teach. A series that ever reaches 0 or below has
    no ratios: it is left alone from then on.
    """

    __slots__ = ("_floor", "_mean", "_seen", "_share", "_variance", "_weight")

    SIGMAS = 6.0
    WINDOW = 40
    LEAST_DEVIATION = 0.05
    LEAST_JUMP = math.log(2.0)
    LEARNING = 10
    SOURCE = (
        "6 standard deviations over a moving average of the logarithm, window 40: no alarm in 80 healthy runs of 20 "
        "kinds (28,800 steps), at most 0.1 in 10,000 steps of log-normal noise with sigma 1.5"
    )

    def __init__(self, share: float) -> None:
        self._weight = 2.0 / (self.WINDOW + 1)
        self._share = share
        self._seen = 0
        self._mean = 0.0
        self._variance = 0.0
        self._floor = 0.0

    def update(self, step: int, value: float) -> Detection | None:
        """Judge one reading. Non-finite readings are another detector's business and change nothing."""
        if self._seen < 0 or not math.isfinite(value):
            return None
        if value <= 0.0:
            self._seen = -1
            return None
        logarithm = math.log(value)
        seen = self._seen
        self._seen = seen + 1
        if seen == 0:
            self._mean = logarithm
            self._floor = self._share * value
            return None
        distance = logarithm - self._mean
        found = None
        if seen >= self.LEARNING and distance > self.LEAST_JUMP and value > self._floor:
            deviation = max(math.sqrt(self._variance), self.LEAST_DEVIATION)
            if distance > self.SIGMAS * deviation:
                found = self._report(step, value, deviation)
        weight = self._weight
        self._mean += weight * distance
        self._variance = (1.0 - weight) * (self._variance + weight * distance * distance)
        return found

    def _report(self, step: int, value: float, deviation: float) -> Detection:
        bound = math.exp(min(self._mean + max(self.SIGMAS * deviation, self.LEAST_JUMP), 700.0))
        usual = math.exp(min(self._mean, 700.0))
        return Detection(step, value, f"at most {bound:.4g} (usually {usual:.4g})", self.SOURCE)
