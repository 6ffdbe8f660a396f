"""Finite gradients, and a non-finite update: the optimizer's own arithmetic failed.

What happens
------------
Adam squares gradients: in float32 the second moment is infinite from a gradient of 5.8e20 with beta2 = 0.999 (and
every later update of that element is 0 for ever), in float16 already from 8.1e3. Momentum and weight decay add to it.
Clipping by an infinite norm zeroes finite gradients and turns infinite ones into NaN.

How to recognise it
-------------------
All gradients are finite when the optimizer begins, and the parameters or moments are not when it ends. Half-precision
parameters without a float32 copy are the usual reason.

What to do
----------
Keep parameters and moments in float32 (autocast instead of `model.half()`), and clip gradients before the update,
with `error_if_nonfinite=True`.

Example
-------
::

    model = Net().half()                                          # parameters and moments in float16
    model = Net()                                                 # float32, with autocast in the forward pass

References
----------
pytorch/pytorch#46849, FluxML/Optimisers.jl#167
"""

from __future__ import annotations

import math
import re

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import (
    divides_by_zero,
    dtypes,
    finite,
    inputs,
    kind,
    largest_amplitude,
    optimizer_location,
    origin_location,
    phase,
)
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.histories import growth, loss_factor, own_window, rate_ratio
from stayfinite.catalog.operator_predictions import at
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction, Update, Within
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

RUNAWAY = 1e6
"""A gradient norm that rose this many times in a run is no longer that of a model which is large by its units."""
_BETWEEN = frozenset({"clip_gradients", "unscale", "accumulate"})

TITLE = "Optimizer arithmetic"
PRIOR = prior(threads=1)
APPLIES_TO = Scope(phases=frozenset({"optimizer", "backward"}))
EXAMPLES = ("optimizer-arithmetic", "orbits-in-metres", "corrected-averages", "queue-times")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The formula of an optimizer of the script's own; else where the optimizer was constructed."""
    here = origin_location(case)
    own = phase(case) == "optimizer" and here.code and re.search(r"\bstep\(|clip_grad", here.code) is None
    return here if own else optimizer_location(case)


def evidence(case: Case) -> list[Evidence]:
    """Whether it was the optimizer at all, its formats, and the squares it takes."""
    if phase(case) != "optimizer" and kind(case).name not in _BETWEEN:
        return [Evidence("the gradients were not finite before the optimizer began", -10.0, "phase")]
    found = [Evidence("the gradients were finite, the update was not", 4.0, "phase")]
    if any(stats.nonfinite for stats in inputs(case)):
        return [Evidence("what the optimizer was given was not finite", -6.0, "phase")]
    half = sorted({"float16", "bfloat16"} & (dtypes(case) | set(case.configuration.parameter_dtypes)))
    if half:
        found.append(Evidence(f"it computes in {' and '.join(half)}", 2.0, "format"))
    if divides_by_zero(case):
        found.append(Evidence("it made that of small numbers and an exact 0: it divides by it", 3.0, "divisor"))
    squared = _square(case)
    if squared is not None:
        found.append(Evidence(squared, 4.0, "second-moment"))
    norm = case.configuration.clipped_norm
    if norm is not None and finite(norm) is None:
        found.append(Evidence(f"clipping found a norm of {show(norm)}", 3.0, "clipping"))
    ratio = rate_ratio(case)
    if ratio is not None and ratio >= 100.0:
        found.append(Evidence(f"the rate is {show(ratio)} times what is customary", -3.0, "rate"))
    if growth(case, "loss").grew:
        found.append(Evidence("the loss had been growing for steps", -2.0, "loss-history"))
    gradient, rose = growth(case, "gradient_norm", failing=True), loss_factor(case)
    if squared is not None and gradient.factor >= RUNAWAY and gradient.factor >= 100.0 * rose:
        found.append(Evidence(f"the gradient norm had risen {show(gradient.factor)} times, the loss {show(rose)} "
                              f"times: the square is only where it shows", -4.0, "gradient-against-loss"))
    return found


def _square(case: Case) -> str | None:
    """Says if a gradient's square, weighted by 1 - beta2, leaves the format."""
    gradient = max(largest_amplitude(case), finite(next(iter(own_window(case, "gradient_norm").values[-1:]), None)) or 0.0)
    formats = [facts for name in sorted(dtypes(case)) if (facts := dtype_facts(name)) is not None]
    beta = max((o.betas[1] for o in case.configuration.optimizers if len(o.betas) > 1), default=None)
    if not formats or beta is None:
        return None
    narrow = min(formats, key=lambda facts: facts.largest)
    limit = math.sqrt(narrow.largest / max(1.0 - beta, narrow.epsilon))
    if gradient < limit:
        return None
    return f"a gradient of {show(gradient)} squared and times {show(1.0 - beta)} leaves {narrow.name}"


def predict(case: Case) -> list[Prediction]:
    """With the divisor kept away from 0, with a larger epsilon, or with gradients whose squares the format holds, the update is
    finite; a smaller rate does not help."""
    placebo, here = Update(rate=0.1), origin_location(case)
    if divides_by_zero(case):
        line = at("div", here)
        inside = [Prediction(Within(line, 1, away=1e-6))] if line is not None else []
        return [*inside, Prediction(Update(options=(("eps", 1e-3),)), placebo=placebo)]
    formats = [facts for name in (*dtypes(case), *case.configuration.parameter_dtypes) if (facts := dtype_facts(name)) is not None]
    largest = min((facts.largest for facts in formats), default=0.0)
    return [Prediction(Update(clip="value", limit=1e-3 * math.sqrt(largest)), placebo=placebo)] if largest else []
