"""The last activation does not fit the loss: what is asked for cannot be given, or is normalised twice.

What happens
------------
A softmax over a single number is always 1, and its gradient exactly 0. A rectifier, a sigmoid or a tanh cannot reach a
target outside of its range: it is pushed to the edge, where it is flat, and stays. A cross-entropy that normalises by itself
and is given probabilities sees scores between 0 and 1 and can hardly tell classes apart; a negative log-likelihood that is
given probabilities instead of their logarithms falls to -1 and means nothing.

How to recognise it
-------------------
The gradient is exactly 0 or the loss stays; the loss was given the output of an activation whose range does not hold the
target, that works on one number, or that the loss applies itself.

What to do
----------
Two classes: one score and `binary_cross_entropy_with_logits`. Several: plain scores and `cross_entropy`. Regression: no
activation at the end, or one whose range is that of the target.

Example
-------
::

    loss = F.binary_cross_entropy(torch.softmax(score, dim=1), y) # score has one column
    loss = F.binary_cross_entropy_with_logits(score, y)

References
----------
Zhang et al. 2021 (AUTOTRAINER) for the table of outputs and losses
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import finite, origin_location
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.operator_predictions import at
from stayfinite.catalog.places import layer
from stayfinite.catalog.surveyed import MOSTLY, NOTHING_LEARNED, same_line, share_of_units, surveyed
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Bypassed, Prediction, Stable
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.survey import LossInputs

TITLE = "Output activation does not fit the loss"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(detectors=NOTHING_LEARNED)
EXAMPLES = ("defect-or-not", "winter-nights", "who-wrote-it")

RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, float("inf")),
    "softplus": (0.0, float("inf")), "log_softmax": (float("-inf"), 0.0), "logsigmoid": (float("-inf"), 0.0),
}
"""What these can give."""
DIFFERENCES = frozenset({"mse", "l1_loss", "smooth_l1"})
"""Losses that are least where prediction and target are equal."""
NORMALISES = {
    "cross_entropy": frozenset({"softmax", "sigmoid"}), "bce_with_logits": frozenset({"softmax", "sigmoid"}),
}
"""Losses that normalise scores, and what should not have been applied to the scores before."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line of the activation that made the prediction; where it is a module, the one that builds it."""
    worst = _worst(case)
    if worst is None:
        return origin_location(case)
    loss = worst[0]
    return layer(case, loss.made_by, loss.made_at, last=True) if loss.made_at.file else loss.location


def evidence(case: Case) -> list[Evidence]:
    """Whether what the losses were given can be brought to what they ask for."""
    worst = _worst(case)
    if worst is None:
        seen = bool(surveyed(case).losses)
        return [Evidence("what the loss was given fits it" if seen else "no known loss was seen", -8.0, "misfit")]
    loss, told = worst
    found = [told]
    stuck = [units for units in surveyed(case).units if same_line(units.location, loss.made_at)]
    if any(units.saturated >= MOSTLY or share_of_units(units) >= MOSTLY for units in stuck):
        found.append(Evidence("it has been pushed to the edge of its range, where it is flat", 2.0, "units"))
    return found


def _worst(case: Case) -> tuple[LossInputs, Evidence] | None:
    judged = [(loss, told) for loss in surveyed(case).losses if (told := _judge(loss)) is not None]
    return max(judged, key=lambda one: one[1].bits, default=None)


def _judge(loss: LossInputs) -> Evidence | None:
    """What is wrong with one loss, or ``None``."""
    if loss.made_by in ("softmax", "log_softmax") and loss.made_over == 1:
        return Evidence(f"a {loss.made_by} over a single number gives the same for every input", 10.0, "misfit")
    highest = finite(loss.prediction.max)
    if loss.kind == "nll_loss" and highest is not None and highest > 1e-3 and loss.made_by != "log_softmax":
        what = f"the output of a {loss.made_by}" if loss.made_by else "values"
        return Evidence(f"a negative log-likelihood was given {what} up to {show(highest)}: no logarithm of a probability is "
                        "above 0", 8.0, "misfit")
    if loss.made_by in NORMALISES.get(loss.kind, ()):
        return Evidence(f"{loss.kind} normalises by itself and was given the output of a {loss.made_by}", 5.0, "misfit")
    if loss.kind in NORMALISES and loss.made_by == "relu":
        return Evidence(f"{loss.kind} was given scores that a rectifier keeps from falling below 0", 3.0, "misfit")
    return _out_of_range(loss)


def _out_of_range(loss: LossInputs) -> Evidence | None:
    """The target against the range of the activation. A tenth of the target's own spread may lie outside."""
    limits, target = RANGES.get(loss.made_by), loss.target
    if limits is None or target is None or loss.kind not in DIFFERENCES or dtype_facts(target.dtype) is None:
        return None
    low, high = finite(target.min), finite(target.max)
    if low is None or high is None:
        return None
    slack = 0.1 * (high - low)
    below, above = limits[0] - low, high - limits[1]
    if max(below, above) <= slack or (low == high and max(below, above) <= 0.0):
        return None
    unreached = below >= high - low or above >= high - low
    side = f"goes down to {show(low)}" if below > above else f"reaches {show(high)}"
    bound = f"at least {show(limits[0])}" if below > above else f"at most {show(limits[1])}"
    return Evidence(f"the target {side}, a {loss.made_by} gives {bound}", 7.5 if unreached else 5.0, "misfit")


def predict(case: Case) -> list[Prediction]:
    """With the activation left out the loss reaches the weights; with a sigmoid in the place of a softmax over a single number. A
    loss on probabilities refuses what no activation brought between 0 and 1."""
    worst = _worst(case)
    here = at(worst[0].made_by, worst[0].made_at) if worst is not None and worst[0].made_by else None
    if worst is None or here is None:
        return []
    if worst[0].made_over == 1 and worst[0].kind == "bce":
        return [Prediction(Stable(here, "sigmoid"))]
    return [Prediction(Bypassed(here))] if worst[0].kind != "bce" else []
