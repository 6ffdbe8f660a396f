"""Within one backward pass the gradient grew from layer to layer, or from time step to time step.

What happens
------------
The gradient of an early layer is a product of the slopes of all later ones. Where they are on average above 1, it
grows geometrically with depth or with the length of a sequence: a loss of 3 with a gradient of 1e8. Then the update
throws the parameters away, or the gradient itself overflows.

How to recognise it
-------------------
The gradient norm is out of proportion to the loss: it jumps or rises by orders of magnitude while the loss is
moderate, and the gradients of one backward pass rise in a straight line on a logarithmic scale. Recurrent and very
deep networks without normalisation are the usual ones.

What to do
----------
Clip the gradient norm (1 is a common limit), shorten the sequences that are differentiated through, or change the
architecture: gates, residual connections, normalisation, orthogonal initialisation of recurrent weights.

Example
-------
::

    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

References
----------
cvignac/SMP#3, InterDigitalInc/PccAI#1, hill-a/stable-baselines#1143
"""

from __future__ import annotations

import statistics
from collections import Counter

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import HUGE, kind, overflowed, phase
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.histories import growth, loss_factor, rate_ratio, readings, slope, too_large
from stayfinite.catalog.operator_predictions import place
from stayfinite.catalog.scales import data_scale
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Damped, Prediction, Update
from stayfinite.records.numbers import show

TITLE = "Exploding gradient"
PRIOR = prior(threads=3)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("exploding-gradient", "ricker-patches", "spin-chain")

UNROLLED = 10
"""Calls of one module in one pass from which a network counts as unrolled over time."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """How the gradient ran through the layers, and how it compares with the loss."""
    found = [*too_large(case), *_profile(case), *_against_loss(case), *_jump(case)]
    if phase(case) == "backward" and overflowed(case):
        found.append(Evidence("a gradient overflowed while the loss was finite", 2.5, "phase"))
    elif phase(case) in ("forward", "loss"):
        found.append(Evidence("the forward pass failed, not the backward pass", -1.0, "phase"))
    calls = Counter(entry.module for entry in case.trace.profile or case.trace.gradient_profile)
    most = max(calls.values(), default=0)
    if most >= UNROLLED or kind(case).name == "rnn":
        found.append(Evidence(f"a module ran {most} times in one pass" if most >= UNROLLED else "a recurrent network",
                              2.0, "depth"))
    if case.configuration.clip_norm is not None:
        limit = show(case.configuration.clip_norm)
        found.append(Evidence(f"the gradient norm is clipped at {limit}", -2.0, "clipping"))
    if data_scale(case) >= 1e3:
        found.append(Evidence(f"data of {show(data_scale(case))} make gradients large at once", -3.5, "data-scale"))
    ratio = rate_ratio(case)
    if ratio is not None and ratio >= 30.0:
        found.append(Evidence(f"the rate is {show(ratio)} times what is customary", -2.5, "rate"))
    if case.replay.unscaled == "finite":
        found.append(Evidence("with a loss that is not scaled the gradients are finite", -6.0, "scale"))
    if case.symptom.step == 0 and phase(case) in ("forward", "loss"):
        found.append(Evidence("it failed before any gradient was used", -6.0, "step"))
    return found


def _profile(case: Case) -> list[Evidence]:
    backward, forward = slope(case.trace.gradient_profile), slope(case.trace.profile)
    found = []
    if backward.geometric:
        found.append(Evidence(f"within one backward pass gradients differ by a factor of {show(backward.factor)} over "
                              f"{backward.layers} layers, in a straight line on a logarithmic scale", 5.0,
                              "gradient-slope"))
    elif backward.layers >= 4 and backward.factor < 100.0:
        found.append(Evidence("gradients are of similar size in all layers", -2.5, "gradient-slope"))
    if forward.geometric and forward.rising and case.symptom.step > 0:
        found.append(Evidence(f"activations grow by a factor of {show(forward.factor)} over {forward.layers} layers",
                              1.5, "layer-slope"))
    return found


def _against_loss(case: Case) -> list[Evidence]:
    gradient, loss = growth(case, "gradient_norm", failing=True), growth(case, "loss", failing=True)
    if gradient.readings == 0:
        return []
    # Weights that grow by a constant factor let the gradient grow less than the loss: the loss has one factor more.
    rose = loss_factor(case)
    if gradient.factor >= 1e3 and gradient.factor >= 10.0 * rose:
        settled = gradient.readings - gradient.steps >= 3  # from the first steps on, every divergence begins steeply
        bits = 2.0 if not settled else 4.5 if gradient.factor >= 100.0 * rose else 3.5
        return [Evidence(f"the gradient norm rose {show(gradient.factor)} times, the loss {show(rose)} times",
                         bits, "gradient-against-loss")]
    if 0.0 < loss.last <= 1e3 and gradient.last >= 1e5 * loss.last:
        return [Evidence(f"the gradient norm is {show(gradient.last)} for a loss of {show(loss.last)}", 3.0,
                         "gradient-against-loss")]
    if loss.grew and not loss.abrupt:
        return [Evidence("the loss rose along with the gradient norm", -2.5, "gradient-against-loss")]
    return []


def _jump(case: Case) -> list[Evidence]:
    gradient = growth(case, "gradient_norm", failing=True)
    if not gradient.abrupt:
        return []
    return [Evidence(f"the gradient norm rose {show(gradient.leap)} times in one step from a calm level", 3.0,
                     "gradient-jump")]


def predict(case: Case) -> list[Prediction]:
    """With gradients that no call of the failing line enlarges the step passes; with gradients clipped from the start at the norm
    they had before they grew (1 where none is known) the run does, and clipped by a hundredth of the dose, in orders of magnitude,
    it does not."""
    here = place(case)
    damped = [Prediction(Damped(here, HUGE))] if here is not None and phase(case) == "backward" else []
    seen = readings(case, "gradient_norm")
    norms = [value for step, value in seen.items() if step < case.symptom.step]
    calm = sorted(norms)[: max(1, len(norms) // 2)]
    usual = statistics.median(calm) if calm else 1.0
    most = max(seen.values(), default=0.0)
    slightly = most * (usual / most) ** 0.01 if usual > 0.0 and most > 1e3 * usual else 1e3 * usual
    clipped = Prediction(Update(clip="norm", limit=usual), Update(clip="norm", limit=slightly), steps=0, breadth=1)
    return [*damped, clipped]
