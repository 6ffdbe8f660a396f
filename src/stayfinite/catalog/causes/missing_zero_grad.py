"""Gradients were never cleared, so each step adds to all earlier ones.

What happens
------------
`backward` adds to what `.grad` holds. Without `zero_grad` the update is the sum of all gradients so far: a momentum
of 1. The norm grows about linearly at first, the loss swings and then runs away; one non-finite gradient stays for
ever.

How to recognise it
-------------------
The first backward pass of the failing step found gradients of the step before, or a gradient was non-finite before
the step computed anything.

What to do
----------
Clear gradients once per update: before the backward pass, or right after the optimizer. With accumulation, once per
window.

Example
-------
::

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

References
----------
PaddlePaddle/Paddle#67895
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import optimizer_location, state_born
from stayfinite.catalog.histories import RECENT, growth, growth_bits, told
from stayfinite.catalog.predictions import since_it_grew
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction, State, Update
from stayfinite.records.location import Location

TITLE = "Gradients not cleared"
PRIOR = prior(threads=1)
APPLIES_TO = Scope()
EXAMPLES = ("missing-zero-grad", "accumulated-by-mistake")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """Where the gradients could have been cleared; else where the optimizer was constructed that has them, or the first one."""
    owing = [o for o in case.configuration.optimizers if o.gradients_alive]
    places = (*(o.clear_at for o in owing), *(o.location for o in owing))
    return next((place for place in places if place.file), optimizer_location(case))


def evidence(case: Case) -> list[Evidence]:
    """Whether gradients of an earlier step were alive, and how their norm ran."""
    if state_born(case) == "gradient":
        return [Evidence("a gradient was non-finite before the step computed anything", 9.0, "gradients-alive")]
    alive = case.configuration.gradients_alive
    if alive is None:
        found = [Evidence("it is not known whether gradients were cleared", -2.0, "gradients-alive")]
    elif alive:
        found = [Evidence("the backward pass added to the gradients of the step before", 8.0, "gradients-alive")]
    else:
        return [Evidence("the gradients had been cleared", -12.0, "gradients-alive")]
    gradient = growth(case, "gradient_norm")
    if growth_bits(gradient) > 0.0:
        found.append(Evidence(told("the gradient norm", gradient), growth_bits(gradient) / 2.0, "gradient-history"))
    loss = growth(case, "loss")
    if alive and growth_bits(loss) > 0.0:
        found.append(Evidence(told("the loss", loss), growth_bits(loss) / 2.0, "loss-history"))
    if case.symptom.step == 0:
        found.append(Evidence("it is the first step: there is nothing to add to", -8.0, "step"))
    return found


def predict(case: Case) -> list[Prediction]:
    """With the gradients of earlier steps set to 0 before each step it does not fail; with nearly the same rate it does.
    Only gradients that are not finite do their harm in one step."""
    steps = 1 if state_born(case) == "gradient" else max(since_it_grew(case), min(case.symptom.step + 1, RECENT))
    placebo = None if steps == 1 else Update(rate=0.99)  # in another order, sums of gradients would not add up any more
    return [Prediction(State("gradients", "zeroed"), placebo, steps=steps)] if case.symptom.step else []
