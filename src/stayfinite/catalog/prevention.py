"""Policies that change updates before anything fails, if the user switches them on (``--prevent ID``).

Each is told numbers and gives numbers: what limit a gradient has, whether an update is left out. None of them is on by itself,
because each trains otherwise.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping

POLICIES = {
    "clip-outliers": "gradients far above their own recent norms are clipped",
    "clip-by-weight": "each gradient is clipped to a hundredth of its parameter's norm",
    "clip-update": "updates are clipped to the size of the learning rate",
    "skip-spikes": "updates whose loss is far above the recent ones are left out",
}
"""Ids, and what each does."""

BY_WEIGHT = 0.01
"""Largest norm of a gradient, as a share of its parameter's (Brock et al., "High-performance large-scale image recognition without
normalization", 2021, for batches of 4,096 and less)."""
LEAST_WEIGHT = 1e-3
"""Norm that a parameter counts as having at least, so that one that begins at 0 can move (the same)."""
BY_RATE = 1.0
"""Largest root mean square of an update in units of the learning rate (Shazeer and Stern, "Adafactor", 2018)."""


def unknown(asked: Iterable[str]) -> str:
    """What is wrong with these ids, in words; empty if all of them are known."""
    wrong = [name for name in asked if name not in POLICIES]
    return f"{wrong[0]}: no such policy; there are {', '.join(POLICIES)}" if wrong else ""


class Chosen:
    """The policies of `on`, as a framework is handed them (`engine.ports.Preventing`)."""

    by_weight, least_weight, by_rate = BY_WEIGHT, LEAST_WEIGHT, BY_RATE
    does: Mapping[str, str] = POLICIES

    def __init__(self, on: Iterable[str]) -> None:
        self.on = frozenset(on)
        self._outliers: dict[int, Outliers] = {}
        self._spikes = Spikes()

    def limit(self, optimizer: int, norm: float) -> float | None:
        """What a gradient of that optimizer is clipped to; ``None`` if it stays as it is."""
        return self._outliers.setdefault(optimizer, Outliers()).limit(norm)

    def skips(self, loss: float) -> bool:
        """True if the update of this `loss` is left out."""
        return self._spikes.skips(loss)


class Outliers:
    """Gradient norms that lie many deviations above a running mean are clipped to it (Kumar et al., "ZClip", 2025).

    The mean and variance are exponential averages with `KEPT`; a norm beyond `DEVIATIONS` is clipped to
    ``mean + DEVIATIONS**2 / z * deviation``, which is the less the further out it lies; the averages see the clipped norm.
    """

    KEPT = 0.97
    DEVIATIONS = 2.5
    WARM_UP = 25
    """Norms from which the averages begin."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._mean = self._variance = 0.0

    def limit(self, norm: float) -> float | None:
        """What a gradient of this `norm` is clipped to; ``None`` if it stays as it is."""
        if not math.isfinite(norm):
            return None  # that step is held, not clipped
        if len(self._first) < self.WARM_UP:
            self._first.append(norm)
            if len(self._first) == self.WARM_UP:
                self._mean, self._variance = statistics.fmean(self._first), statistics.pvariance(self._first)
            return None
        deviation = math.sqrt(self._variance)
        z = (norm - self._mean) / deviation if deviation > 0.0 else 0.0
        found = self._mean + self.DEVIATIONS**2 / z * deviation if z > self.DEVIATIONS else None
        seen = norm if found is None else found
        self._mean = self.KEPT * self._mean + (1 - self.KEPT) * seen
        self._variance = self.KEPT * self._variance + (1 - self.KEPT) * (seen - self._mean) ** 2
        return found


class Spikes:
    """Losses far above the recent ones: more than `DEVIATIONS` robust deviations over the median of the last `WINDOW`.

    The deviation is 1.4826 times the median absolute deviation, at least a hundredth of the median. No more than `IN_A_ROW` updates
    are left out one after the other: a loss that stays high is a new level and no spike.
    """

    WINDOW = 64
    LEAST = 32
    DEVIATIONS = 8.0
    IN_A_ROW = 3

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=self.WINDOW)
        self._skipped = 0

    def skips(self, loss: float) -> bool:
        """True if the update of this `loss` is to be left out."""
        if not math.isfinite(loss):
            return False
        spike = False
        if len(self._recent) >= self.LEAST:
            median = statistics.median(self._recent)
            spread = 1.4826 * statistics.median(abs(one - median) for one in self._recent)
            spike = loss > median + self.DEVIATIONS * max(spread, 0.01 * abs(median))
        if spike and self._skipped < self.IN_A_ROW:
            self._skipped += 1
            return True
        self._skipped = 0
        self._recent.append(loss)
        return False
