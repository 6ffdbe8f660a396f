"""The updates overshoot: each step makes the loss larger.

What happens
------------
Where the step is longer than about twice the inverse curvature, each update lands further from the valley than the
one before. The loss grows by a constant factor per step until something overflows, often in three to ten steps. Which
operation overflows is chance.

How to recognise it
-------------------
Loss and gradient norm rise together for several steps before the first non-finite value, the parameters are large at
the start of the failing step, and the rate is high for its optimizer. It cannot be the cause of a failure in the
forward or backward pass of the very first step: no update has been made yet.

What to do
----------
Divide the rate by 3 to 10, or warm it up; after a change of the batch size, scale it along. Clipping the gradient
norm limits the damage of single steps. Check that the rate you configured is the one the optimizer has.

Example
-------
::

    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

References
----------
facebookresearch/detectron2#508, facebookresearch/detectron2#1128, facebookresearch/detectron2#214,
sjvasquez/web-traffic-forecasting#4, DLR-RM/rl-baselines3-zoo#156
"""

from __future__ import annotations

from stayfinite.catalog import places
from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import HUGE, dtypes, inputs, largest_amplitude, optimizer_location, phase
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.histories import CYCLIC, growth, growth_bits, rate, rate_beyond, rate_ratio, told, too_large
from stayfinite.catalog.scales import absurd_start, began_with, data_scale, parameter_scale
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction, Update
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

TITLE = "Learning rate too high"
PRIOR = prior(threads=13)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("learning-rate-too-high", "high-temperature")

OVERSHOOTS, SHORT = 1.2, 0.5
"""Sharpness in limits from which updates overshoot for sure, and below which steps are short. Between them training often goes on, at
the edge of stability (Cohen et al. 2021, arXiv:2103.00065)."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The schedule that has a highest rate of its own; else the number that is the rate; else where the optimizer was constructed."""
    cyclic = (info.scheduled_at for info in case.configuration.optimizers if CYCLIC.intersection(info.schedulers))
    return next(cyclic, None) or places.rate(case) or optimizer_location(case)


def predict(case: Case) -> list[Prediction]:
    """With a tenth of the rate from the start, or a thousandth, the run passes and comes as far."""
    return [Prediction(Update(rate=rate), steps=0, breadth=1) for rate in (0.1, 0.001)]


def evidence(case: Case) -> list[Evidence]:
    """The run-up of loss and gradient norm, the rate, and the size of parameters and data."""
    sudden = _update(case)
    found = [*(sudden or _run_up(case)), *_step(case), *too_large(case), *_rate(case), *_sharpness(case)]
    size = parameter_scale(case)
    if size >= HUGE and case.symptom.step > 0:
        found.append(Evidence(f"parameters reach {show(size)} at the start of the step", 2.0, "parameter-scale"))
    elif 0.0 < size <= 10.0 and case.symptom.detector != "divergence":  # seen long before anything is large
        found.append(Evidence(f"parameters stay within {show(size)}", -1.5, "parameter-scale"))
    if absurd_start(case):
        found.append(Evidence("the loss was absurd before the first update", -3.5, "first-loss"))
    elif (first := began_with(case)) is not None:
        found.append(Evidence(f"`{first.name}` made the loss large before the first update", -3.5, "first-loss"))
    data, ratio = data_scale(case), rate_ratio(case)
    if data >= 100.0:
        modest = ratio is None or ratio <= 1.0
        found.append(Evidence(f"data of {show(data)} make an ordinary rate too high",
                              -4.0 if data >= 1e3 else -2.5 if modest else -1.5, "data-scale"))
    if "float16" in dtypes(case):
        found.append(Evidence("in float16 less growth is enough", -1.5, "format"))
    return found


def _step(case: Case) -> list[Evidence]:
    if phase(case) != "optimizer" and case.symptom.step == 0:
        return [Evidence("no update has been made yet", -12.0, "step")]
    return []


def _update(case: Case) -> list[Evidence]:
    """A single update that leaves the format needs no run-up."""
    factor, gradient, ratio = rate(case), largest_amplitude(case), rate_ratio(case)
    if phase(case) != "optimizer" or factor is None or (ratio is not None and ratio < 10.0):
        return []
    narrow = [facts.largest for name in sorted(dtypes(case)) if (facts := dtype_facts(name)) is not None]
    if not narrow or any(stats.nonfinite for stats in inputs(case)) or factor * gradient < 0.1 * min(narrow):
        return []
    return [Evidence(f"rate times gradient is about {show(factor * gradient)}, in a single update", 4.0, "update")]


def _sharpness(case: Case) -> list[Evidence]:
    """Whether the steps were longer than the curvature allowed before anything grew: what cannot be told from the curve."""
    sharp = case.sharpness
    if sharp is None:
        return []
    told = (f"at step {sharp.step} the rate times the largest curvature of the loss was {show(sharp.product)}; steps of "
            f"{sharp.optimizer} are stable up to {show(sharp.limit)}")
    bits = 2.0 if sharp.ratio >= OVERSHOOTS else -2.0 if sharp.ratio <= SHORT else 0.0
    return [Evidence(told, bits, "sharpness")]


def _run_up(case: Case) -> list[Evidence]:
    loss, gradient = growth(case, "loss"), growth(case, "gradient_norm")
    if loss.readings < 2:
        loss, gradient = growth(case, "loss", failing=True), growth(case, "gradient_norm", failing=True)
    ratio = rate_ratio(case)
    if loss.abrupt and not growth(case, "learning_rate").grew and (ratio is None or ratio < 10.0):
        return [Evidence(f"at an unchanged rate, the loss rose {show(loss.leap)} times in one step from a calm level",
                         -1.5, "loss-history")]
    found = []
    if growth_bits(loss) > 0.0:
        found.append(Evidence(told("the loss", loss), growth_bits(loss), "loss-history"))
    elif loss.steady:
        found.append(Evidence(f"the loss was calm before ({show(loss.last)} at the end)", -4.0, "loss-history"))
    elif loss.readings >= 2:
        found.append(Evidence("the loss did not rise before", -1.0, "loss-history"))
    if growth_bits(gradient) > 0.0:
        found.append(Evidence(told("the gradient norm", gradient), 0.4 * growth_bits(gradient), "gradient-history"))
        if loss.readings >= 2 and gradient.factor >= 10.0 * loss.factor:
            found.append(Evidence("the gradient norm rose far more than the loss",
                                  -3.0 if gradient.factor >= 100.0 * loss.factor else -2.0, "gradient-against-loss"))
    return found


def _rate(case: Case) -> list[Evidence]:
    ratio, value = rate_ratio(case), rate(case)
    found = []
    if ratio is not None and value is not None:
        times = f"the rate {show(value)} is {show(ratio)} times what is customary for this optimizer"
        if ratio >= 3.0:
            found.append(Evidence(times, 4.0 if ratio >= 100.0 else 3.0 if ratio >= 10.0 else 1.5, "rate"))
        elif ratio <= 1.0:
            low = ratio <= 0.1
            found.append(Evidence(f"the rate {show(value)} is {'low' if low else 'customary'} for this optimizer",
                                  -3.0 if low else -1.5, "rate"))
    rates = growth(case, "learning_rate")
    risen = rate_beyond(case)
    if risen:
        found.append(Evidence(f"{risen}: a schedule took it there", -3.0, "rate-history"))
    elif rates.grew:
        found.append(Evidence(told("the rate", rates), 1.5, "rate-history"))
    scaling = case.configuration.loss_scaling
    if scaling is not None and (scaling.misuse("stepped-scaled") or scaling.misuse("not-divided")):
        found.append(Evidence("the gradients carry a scale: the rate itself may be fine", -4.0, "scale"))
    if case.configuration.gradients_alive:
        found.append(Evidence("gradients of earlier steps were added to those of this one", -2.0, "gradients-alive"))
    return found
