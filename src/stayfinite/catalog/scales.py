"""How large the data and the parameters of a case are, and which tensor of the batch plays which part."""

from __future__ import annotations

import math
import re

from stayfinite.catalog.clues import amplitude, inputs, kind
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.histories import growth
from stayfinite.records.incident import Case
from stayfinite.records.tensor import TensorStats

_TARGET_NAME = re.compile(r"(^|[^a-z])(y|ys|yb|tgt|gt|t)([^a-z]|$)|target|label|truth|answer", re.IGNORECASE)


def _continuous(stats: TensorStats) -> bool:
    return dtype_facts(stats.dtype) is not None


def _same_values(a: TensorStats, b: TensorStats) -> bool:
    return a.shape == b.shape and a.min == b.min and a.max == b.max and a.zero == b.zero


def targets(case: Case) -> tuple[TensorStats, ...]:
    """Continuous targets of the batch: by name, by being an operand of a loss, or the last of several tensors."""
    named = tuple(s for s in case.batch if _TARGET_NAME.search(s.name))
    if not named and kind(case).has("loss"):
        named = tuple(s for s in case.batch if any(_same_values(s, operand) for operand in inputs(case)))
    if not named and len(case.batch) > 1:
        named = case.batch[-1:]
    return tuple(s for s in named if _continuous(s))


def features(case: Case) -> tuple[TensorStats, ...]:
    """Continuous inputs of the batch: everything that is no target."""
    aims = targets(case)
    return tuple(s for s in case.batch if _continuous(s) and s not in aims)


def widest(tensors: tuple[TensorStats, ...]) -> TensorStats | None:
    """The tensor with the largest finite magnitude."""
    return max(tensors, key=amplitude, default=None)


def scale_bits(magnitude: float) -> float:
    """Bits that the largest magnitude of data is worth for "it was never scaled".

    Standardised data stay below 10 (a 10-sigma value), pixels as bytes reach 255, raw quantities (prices, populations,
    distances in metres) lie at 1e3 and above.
    """
    if magnitude >= 1e6:
        return 5.0
    if magnitude >= 1e3:
        return 4.0
    if magnitude >= 100.0:
        return 2.0
    return 0.0 if magnitude >= 10.0 else -6.0


def data_scale(case: Case) -> float:
    """Largest finite magnitude of continuous data in the batch; 0 if there is none."""
    return max((amplitude(s) for s in case.batch if _continuous(s)), default=0.0)


def absurd_start(case: Case) -> bool:
    """True if the very first loss was 1e4 or more on data of ordinary size. Sums over a batch of images reach that,
    means never do."""
    window, run = case.window("loss"), growth(case, "loss")
    return bool(window.steps) and window.steps[0] == 0 and run.first >= 1e4 and data_scale(case) < 100.0


def parameter_scale(case: Case) -> float:
    """Largest finite magnitude among the parameters at the start of the step; 0 if none is known."""
    return max((amplitude(s) for s in case.parameters), default=0.0)


def initial_excess(stats: TensorStats) -> float:
    """How many times larger a weight's largest magnitude is than ordinary initialisation makes it; 0 for vectors.

    Ordinary: standard deviation sqrt(2 / fan-in) (He et al. 2015), five deviations for the largest of many.
    """
    if len(stats.shape) < 2:
        return 0.0
    fan_in = 1
    for extent in stats.shape[1:]:
        fan_in *= max(extent, 1)
    return amplitude(stats) / (5.0 * math.sqrt(2.0 / fan_in))
