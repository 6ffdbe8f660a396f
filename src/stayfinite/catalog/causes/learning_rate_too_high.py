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

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import HUGE, dtypes, inputs, largest_amplitude, phase
from stayfinite.catalog.clues import optimizer_location as locate
from stayfinite.catalog.histories import growth, growth_bits, rate, rate_ratio, told, too_large
from stayfinite.catalog.scales import data_scale, parameter_scale
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.numbers import show

TITLE = "Learning rate too high"
PRIOR = prior(threads=13)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("learning-rate-too-high",)

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate"]


def evidence(case: Case) -> list[Evidence]:
    """The run-up of loss and gradient norm, the rate, and the size of parameters and data."""
    found = [*_step(case), *too_large(case), *_run_up(case), *_rate(case)]
    size = parameter_scale(case)
    if size >= HUGE and case.symptom.step > 0:
        found.append(Evidence(f"parameters reach {show(size)} at the start of the step", 2.0, "parameter-scale"))
    elif 0.0 < size <= 10.0:
        found.append(Evidence(f"parameters stay within {show(size)}", -1.5, "parameter-scale"))
    data = data_scale(case)
    if data >= 100.0:
        found.append(Evidence(f"data of {show(data)} make an ordinary rate too high", -3.0 if data >= 1e3 else -1.0,
                              "data-scale"))
    if "float16" in dtypes(case):
        found.append(Evidence("in float16 less growth is enough", -1.5, "format"))
    return found


def _step(case: Case) -> list[Evidence]:
    if phase(case) != "optimizer":
        if case.symptom.step == 0:
            return [Evidence("no update has been made yet", -12.0, "step")]
        return []
    factor, gradient = rate(case), largest_amplitude(case)
    if factor is not None and not any(s.nonfinite for s in inputs(case)) and factor * gradient > 1e37:
        return [Evidence(f"rate times gradient is about {show(factor * gradient)}", 3.0, "step")]
    return []


def _run_up(case: Case) -> list[Evidence]:
    loss, gradient = growth(case, "loss"), growth(case, "gradient_norm")
    found = []
    if growth_bits(loss) > 0.0:
        found.append(Evidence(told("the loss", loss), growth_bits(loss), "loss-history"))
    elif loss.steady:
        found.append(Evidence(f"the loss was calm before ({show(loss.last)} at the end)", -4.0, "loss-history"))
    elif loss.readings >= 2:
        found.append(Evidence("the loss did not rise before", -1.0, "loss-history"))
    if growth_bits(gradient) > 0.0:
        found.append(Evidence(told("the gradient norm", gradient), 0.4 * growth_bits(gradient), "gradient-history"))
        if loss.readings >= 2 and gradient.factor >= 1e3 * loss.factor:
            found.append(Evidence("the gradient norm rose far more than the loss", -2.0, "gradient-against-loss"))
    return found


def _rate(case: Case) -> list[Evidence]:
    ratio, value = rate_ratio(case), rate(case)
    found = []
    if ratio is not None and value is not None:
        times = f"the rate {show(value)} is {show(ratio)} times what is customary for this optimizer"
        if ratio >= 3.0:
            found.append(Evidence(times, 4.0 if ratio >= 100.0 else 3.0 if ratio >= 10.0 else 1.5, "rate"))
        elif ratio <= 1.0:
            found.append(Evidence(f"the rate {show(value)} is customary for this optimizer", -1.5, "rate"))
    rates = growth(case, "learning_rate")
    if rates.grew:
        found.append(Evidence(told("the rate", rates), 1.5, "rate-history"))
    return found
