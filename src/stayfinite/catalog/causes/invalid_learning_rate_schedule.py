"""The schedule produced a learning rate that makes no sense.

What happens
------------
A division by a number of steps that is 0, a power of a negative number after the last planned step, a warm-up that
never stops rising: the rate becomes NaN, negative, or a thousand times what was meant.

How to recognise it
-------------------
The rate itself is non-finite or negative, or it rose tenfold and more before the failure and is far above what is
customary for the optimizer; or it has come to thirty times what the schedule was given to multiply, and still rises.

What to do
----------
Print the schedule for all steps before training. Clip the progress to 0 and 1 before it goes into a formula.

Example
-------
::

    rate = lambda step: (1 - step / total) ** 0.9                 # complex or NaN after the last step
    rate = lambda step: max(0.0, 1 - step / total) ** 0.9

References
----------
facebookresearch/detectron2#550
"""

from __future__ import annotations

import statistics

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import finite, optimizer_location
from stayfinite.catalog.histories import (
    CUSTOMARY_RATES,
    base_rate,
    growth,
    growth_bits,
    known_rates,
    rate_beyond,
    readings,
    told,
)
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Intervention, Prediction, Update
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

TITLE = "Invalid learning rate schedule"
PRIOR = prior(threads=1)
APPLIES_TO = Scope()
EXAMPLES = ("invalid-learning-rate-schedule", "sunspot-warmup", "ranking-below-zero", "linear-decay")

CALM = 5
"""Readings of which the median is the loss of a rate: one lucky batch says nothing."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The rate at the step, and how it came to be."""
    found = [_rate(case)]
    if found[0].bits > 0.0:
        loss = growth(case, "loss")
        if growth_bits(loss) > 0.0:
            found.append(Evidence(told("the loss", loss), growth_bits(loss), "loss-history"))
    rated = next((optimizer.rated for optimizer in case.configuration.optimizers if optimizer.rated), "")
    if rated and found[0].bits > 0.0:
        found.append(Evidence(rated, 2.0, "formula"))
    names = [name for optimizer in case.configuration.optimizers for name in optimizer.schedulers]
    if names:
        found.append(Evidence(f"the rate is set by {names[0]}", 1.0, "scheduler"))
    return found


def locate(case: Case) -> Location:
    """The line whose formula gave the rate; else where the schedule was made; without one, where the optimizer was."""
    rated = next((optimizer.rated_at for optimizer in case.configuration.optimizers if optimizer.rated_at.file), None)
    if rated is not None:
        return rated
    made = (optimizer.scheduled_at for optimizer in case.configuration.optimizers)
    return next((place for place in made if place.file), optimizer_location(case))


def _rate(case: Case) -> Evidence:
    rates = [r for optimizer in case.configuration.optimizers for r in optimizer.rates]
    latest = case.window("learning_rate").values[-1:]
    absurd = next((r for r in [*rates, *latest] if finite(r) is None), None)
    if absurd is not None or case.symptom.detector == "nonfinite-learning-rate":
        value = absurd if absurd is not None else case.symptom.value
        return Evidence(f"the learning rate is {show(value)}", 12.0, "rate")
    lowest = min((known for r in rates if (known := finite(r)) is not None), default=0.0)
    if lowest < 0.0:
        return Evidence(f"the learning rate is {show(lowest)}: it climbs the loss", 8.0, "rate")
    risen = rate_beyond(case)
    if risen:
        return Evidence(risen, 8.0, "rate")
    return Evidence("the rate did not move to where it makes no sense", -7.0, "rate")


def predict(case: Case) -> list[Prediction]:
    """With the last rate that was one, or a customary one, the step passes, where this one is no number; with the first rate
    throughout, the run does."""
    kinds = (optimizer.kind for optimizer in case.configuration.optimizers)
    customary = next((CUSTOMARY_RATES[kind] for kind in kinds if kind in CUSTOMARY_RATES), 1e-3)
    positive = known_rates(case)
    if case.symptom.detector == "nonfinite-learning-rate":
        good = positive[-1] if positive else customary
        return [Prediction(Update(options=(("lr", good),)), Update(options=(("weight_decay", 0.0), ("momentum", 0.0))))]
    first = base_rate(case) or (positive[0] if positive else customary)
    steady = min(first, customary)
    return [Prediction(Update(options=(("lr", steady),)), Update(rate=0.99), steps=0)]


def treat(case: Case) -> list[Intervention]:
    """The rate at which the loss was least: a warm-up that never ends had gone through what it was to end at."""
    rates = dict(zip(case.window("learning_rate").steps, case.window("learning_rate").values, strict=False))
    losses = [(step, loss) for step, loss in readings(case, "loss").items() if step in rates]
    if len(losses) < CALM:
        return []
    smooth = [(statistics.median(loss for _, loss in losses[at : at + CALM]), losses[at + CALM // 2][0])
              for at in range(len(losses) - CALM + 1)]
    rate = finite(rates[min(smooth)[1]])
    return [Update(options=(("lr", rate),))] if rate is not None and rate > 0.0 else []
