"""What happened before the failing step, and how magnitudes run through the layers of it."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from stayfinite.catalog.clues import finite, overflowed
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.numbers import is_finite, show, to_float
from stayfinite.records.series import Window
from stayfinite.records.trace import Magnitude

CYCLIC = frozenset({"OneCycleLR", "CyclicLR"})
"""Schedulers that are given the highest rate and do not look at the optimizer's."""
BEYOND = 30.0
"""Times the rate a schedule was given that no warm-up means to reach. One that states its highest rate itself begins at 1/25 of it."""
RECENT = 50
"""Readings that are looked back on. Divergences without a rising rate mostly take fewer than ten steps."""


@dataclass(frozen=True)
class Growth:
    """How a positive series ended.

    **Fields**: `readings`, how many finite positive ones; `start`, the level it left: its least reading, or the median
    of the ten readings up to when it left, whichever is more (a noisy series has low readings without meaning); `last`;
    `steps`, since it was last within twice its least reading; `rising`, the share of these steps on which it rose;
    `leap`, the largest factor of one of these steps that began near the level it left (within 30 times).
    """

    readings: int
    start: float
    last: float
    steps: int
    rising: float
    leap: float

    @property
    def factor(self) -> float:
        """Last reading divided by the level it left; at least 1."""
        return max(self.last / self.start, 1.0) if self.start > 0.0 else 1.0

    @property
    def grew(self) -> bool:
        """At least tenfold, and rising on most steps of the way."""
        return self.factor >= 10.0 and self.rising >= 0.6

    @property
    def abrupt(self) -> bool:
        """Calm for four readings or more, then thirtyfold in a single step. Where a constant step size is too high, an
        error grows by (rate * curvature - 1)^2 per step: thirtyfold would take a curvature that tripled at once."""
        return self.readings - self.steps >= 4 and self.leap >= 30.0

    @property
    def steady(self) -> bool:
        """Five readings or more, the last one within three times the level it left."""
        return self.readings >= 5 and self.factor < 3.0


_NOTHING = Growth(0, 0.0, 0.0, 0, 0.0, 1.0)


def own_window(case: Case, series: str) -> Window:
    """Of the windows of `series` and its namesakes (``loss``, ``loss[1]``), the one the symptom is about: the symptom's
    own, else the last to be read in the failing step."""
    named = [window for window in case.windows if window.series.partition("[")[0] == series]
    own = next((window for window in named if window.series == case.symptom.series), None)
    if own is not None:
        return own
    latest = [window for window in named if window.steps and window.steps[-1] == case.symptom.step]
    return latest[-1] if latest else case.window(series)


def readings(case: Case, series: str) -> dict[int, float]:
    """The finite positive readings of `series` up to the failing step, by step, oldest first."""
    window = own_window(case, series)
    return {
        step: to_float(value)
        for step, value in zip(window.steps, window.values, strict=False)
        if step <= case.symptom.step and is_finite(value) and to_float(value) > 0.0
    }


def growth(case: Case, series: str, *, failing: bool = False) -> Growth:
    """How `series` ran before the failing step (`failing`: that step included), over its finite positive readings.

    The failing step's own loss is no history: a bad sample makes it jump as well.
    """
    last = case.symptom.step + int(failing)
    values = [value for step, value in readings(case, series).items() if step < last][-RECENT:]
    if not values:
        return _NOTHING
    least = min(values)
    at = max(i for i, value in enumerate(values) if value <= 2.0 * least)
    tail = values[at:]
    steps = len(tail) - 1
    rises = sum(later > earlier for earlier, later in itertools.pairwise(tail))
    start = max(least, statistics.median(values[max(at - 9, 0) : at + 1]))
    leaps = (later / max(earlier, start) for earlier, later in itertools.pairwise(tail) if earlier <= 30.0 * start)
    leap = max(leaps, default=1.0)
    return Growth(len(values), start, values[-1], steps, rises / steps if steps else 0.0, leap)


def loss_factor(case: Case) -> float:
    """How many times larger the loss became, the failing step and a change of its sign included; at least 1."""
    run, window = growth(case, "loss", failing=True), own_window(case, "loss")
    last = next((finite(value) for step, value in zip(window.steps, window.values, strict=False) if step == case.symptom.step), None)
    return max(run.factor, abs(last or 0.0) / run.start if run.start > 0.0 else 1.0)


def first_reading(case: Case, series: str) -> float | None:
    """The reading of step 0, if it is known and finite."""
    window = case.window(series)
    return finite(window.values[0]) if window.steps and window.steps[0] == 0 and window.values else None


def growth_bits(run: Growth) -> float:
    """Bits that a run-up is worth for a cause that predicts growth: 0 to 5. One big step counts less than several."""
    if run.steps < 1 or run.rising < 0.6:
        return 0.0
    if run.steps == 1:
        return 3.0 if run.factor >= 1e3 else 2.0 if run.factor >= 10.0 else 0.0
    return 5.0 if run.factor >= 100.0 else 4.0 if run.factor >= 10.0 else 2.0 if run.factor >= 3.0 else 0.0


def told(name: str, run: Growth) -> str:
    """A run-up in words."""
    return f"{name} rose from {show(run.start)} to {show(run.last)} in the last {run.steps} steps"


def against_growth(case: Case) -> list[Evidence]:
    """For causes that lie in one value of one batch: a run-up of the loss speaks against them, a calm one for them."""
    loss = growth(case, "loss")
    if loss.grew and loss.steps >= 2:
        return [Evidence(f"{told('the loss', loss)}: the failure was coming before this value", -2.5, "loss-history")]
    if loss.steady:
        return [Evidence(f"the loss was calm before ({show(loss.last)} at the end)", 1.0, "loss-history")]
    return []


def too_large(case: Case) -> list[Evidence]:
    """For causes that make all numbers grow: the origin must be one where numbers were too large."""
    if case.origin is None:
        return []
    if overflowed(case):
        return [Evidence("numbers inside the operator's domain left the range of the format", 1.5, "mechanism")]
    return [Evidence("the origin is no overflow: growth alone does not make this value", -3.5, "mechanism")]


@dataclass(frozen=True)
class Slope:
    """How magnitudes run through a profile: `factor` from the smaller end to the larger one, `rising` if the last entry
    is the larger one, `straight` the correlation of ln(magnitude) with the position, `layers` how many entries."""

    layers: int
    factor: float
    rising: bool
    straight: float

    @property
    def geometric(self) -> bool:
        """Ten thousandfold, in a straight line of four entries or more. Ordinary networks stay within a hundredfold."""
        return self.layers >= 4 and self.factor >= 1e4 and self.straight >= 0.9


def slope(profile: Sequence[Magnitude]) -> Slope:
    """How the largest magnitudes run through `profile`; entries without a finite positive magnitude are left out."""
    logs = [math.log(value) for entry in profile if (value := finite(entry.absmax) or 0.0) > 0.0]
    count = len(logs)
    if count < 2:
        return Slope(count, 1.0, False, 0.0)
    middle, mean = (count - 1) / 2.0, sum(logs) / count
    across = sum((i - middle) ** 2 for i in range(count))
    spread = sum((value - mean) ** 2 for value in logs)
    joint = sum((i - middle) * (value - mean) for i, value in enumerate(logs))
    straight = abs(joint) / math.sqrt(across * spread) if spread > 0.0 else 0.0
    return Slope(count, math.exp(min(abs(logs[-1] - logs[0]), 700.0)), logs[-1] > logs[0], straight)


CUSTOMARY_RATES = {
    "SGD": 0.1, "Adam": 1e-3, "AdamW": 1e-3, "NAdam": 2e-3, "RAdam": 1e-3, "Adamax": 2e-3, "SparseAdam": 1e-3,
    "RMSprop": 1e-2, "Adagrad": 1e-2, "Adadelta": 1.0, "ASGD": 1e-2, "Rprop": 1e-2, "LBFGS": 1.0, "Adafactor": 1e-2,
    "Muon": 2e-2, "Lion": 1e-4,
}
"""Rates people begin with: the defaults of `torch.optim` where it has one, 0.1 for SGD on normalised networks."""


def rate(case: Case) -> float | None:
    """The largest finite learning rate at the failing step; ``None`` if none is known."""
    rates = [value for o in case.configuration.optimizers for r in o.rates if (value := finite(r)) is not None]
    if rates:
        return max(rates)
    window = own_window(case, "learning_rate")
    return next((value for v in reversed(window.values) if (value := finite(v)) is not None), None)


def rate_ratio(case: Case) -> float | None:
    """The largest ratio of a learning rate to what is customary for its optimizer; ``None`` if none is known."""
    ratios = [
        value / CUSTOMARY_RATES[o.kind]
        for o in case.configuration.optimizers
        if o.kind in CUSTOMARY_RATES
        for r in o.rates
        if (value := finite(r)) is not None
    ]
    return max(ratios, default=None)


def known_rates(case: Case) -> list[float]:
    """The rates that were read, as far as they are ones."""
    return [value for one in case.window("learning_rate").values if (value := finite(one)) is not None and value > 0.0]


def base_rate(case: Case) -> float | None:
    """The least rate that a schedule was given to multiply; ``None`` if there is none, or the schedule states its highest rate."""
    given = (value for one in case.configuration.optimizers if not CYCLIC.intersection(one.schedulers) for value in one.base_rates)
    return min((known for value in given if (known := finite(value)) is not None and known > 0.0), default=None)


def rate_beyond(case: Case) -> str:
    """How a schedule took the rate far beyond what is customary, or at least there and far beyond what it was given; else empty."""
    run, ratio, read, base = growth(case, "learning_rate"), rate_ratio(case), known_rates(case), base_rate(case)
    if ratio is None:
        return ""
    if run.grew and ratio >= 10.0:
        return f"{told('the rate', run)}, {show(ratio)} times what is customary"
    if len(read) <= 2 or read[-1] <= read[-2]:
        return ""
    if ratio >= 10.0 and read[-1] >= 10.0 * read[0]:
        return f"the rate rose from {show(read[0])} to {show(read[-1])} and was still rising, {show(ratio)} times what is customary"
    if base is not None and ratio >= 1.0 and read[-1] >= BEYOND * base:
        return f"the rate rose from the {show(base)} that the schedule was given to {show(read[-1])} and was still rising"
    return ""
