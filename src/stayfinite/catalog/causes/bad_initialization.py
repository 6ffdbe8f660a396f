"""The weights were drawn too large: activations grow from layer to layer before any training.

What happens
------------
With weights of standard deviation s and fan-in n, each layer multiplies its input by about s * sqrt(n / 2). At 1
instead of sqrt(2 / n) a layer of 512 multiplies by 16: ten layers make 1e12, thirty leave float32.

How to recognise it
-------------------
The very first step fails, or its loss is absurd, on ordinary data: activations grow geometrically with depth, and
weights are several times larger than their fan-in allows.

What to do
----------
Use the framework's initialisation, or scale yours: standard deviation sqrt(2 / fan-in) before a rectifier, sqrt(1 /
fan-in) before tanh. Residual branches can start at 0.

Example
-------
::

    torch.nn.init.normal_(layer.weight)                           # standard deviation 1
    torch.nn.init.kaiming_normal_(layer.weight)                   # sqrt(2 / fan-in)

References
----------
ethanhe42/KL-Loss#4, huggingface/transformers#46014; He et al. 2015 for the number
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import inputs, origin_location
from stayfinite.catalog.histories import growth, growth_bits, slope, told, too_large
from stayfinite.catalog.places import made
from stayfinite.catalog.scales import absurd_start, data_scale, initial_excess, parameter_scale
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import LISTED, Case
from stayfinite.records.intervention import Prediction, State
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.survey import Making

TITLE = "Bad initialisation"
PRIOR = prior(threads=2)
APPLIES_TO = Scope(phases=COMPUTED | {"optimizer"})
EXAMPLES = ("bad-initialization", "wide-start")

FIRST_STEPS = 6
"""Steps within which a network that was never well can overflow; later ones have survived their initialisation."""
GARBAGE = 1e12
"""Magnitudes that no random generator was asked for: memory that was never written."""

_WEIGHT = re.compile(r"requires_grad|Parameter\(|init\.|\w_\(")
"""What marks a line that draws numbers as one that draws weights, and not data."""

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line that draws the weights the failing operation reads, or some of the model; else the operation."""
    return (
        made(case, "operand", "draw", fits=_fills_weight)
        or next((place for name in _weights_read(case) if (place := made(case, "operand", "draw", name=name)) is not None), None)
        or made(case, "start", "draw", fits=lambda one: one.name.rpartition(".")[2] == _largest_of(case))
        or made(case, "start", "draw")
        or origin_location(case)
    )


def _weights_read(case: Case) -> list[str]:
    """What the failing operation reads that nothing in the step has made, and that is no data."""
    data = {stats.name for stats in (*case.batch, *case.trace.model_inputs)}
    return [stats.name for stats in inputs(case) if len(stats.shape) > 1 and not stats.made_by and stats.name not in data]


def _largest_of(case: Case) -> str:
    """Last name of the weight that is most too large."""
    worst = max(case.parameters, key=initial_excess, default=None)
    return worst.name.rpartition(".")[2] if worst is not None else ""


def _fills_weight(one: Making) -> bool:
    return _WEIGHT.search(one.location.code) is not None


def evidence(case: Case) -> list[Evidence]:
    """How early it failed, how activations run through the layers, and how large the weights are for their fan-in."""
    step = case.symptom.step
    early = step < FIRST_STEPS
    age = 3.5 if step == 0 else 0.0 if early else -3.0 if step <= 20 else -6.0
    found = [
        Evidence(f"it failed at step {step}", age, "step"),
        *too_large(case),
        *_layers(case, early),
        *_weights(case),
    ]
    run = growth(case, "loss")
    first = absurd_start(case)
    if first:
        found.append(Evidence(f"the first loss was {show(first)} already, on data of ordinary size",
                              4.5 if first >= 1e7 else 3.5, "first-loss"))
    if early and growth_bits(run) > 0.0:
        found.append(Evidence(told("the loss", run), 0.5 * growth_bits(run), "loss-history"))
    if data_scale(case) >= 1e3:
        found.append(Evidence(f"the batch holds values up to {show(data_scale(case))}", -3.0, "data-scale"))
    return found


def _layers(case: Case, early: bool) -> list[Evidence]:
    through = slope(case.trace.profile)
    if through.geometric and through.rising:
        return [Evidence(f"activations grow by a factor of {show(through.factor)} over {through.layers} layers",
                         5.0 if case.symptom.step == 0 else 2.5 if early else 0.5, "layer-slope")]
    if case.symptom.step == 0 and through.layers >= 4 and through.factor < 100.0:
        return [Evidence("activations are of similar size in all layers", -2.5, "layer-slope")]
    return []


def _weights(case: Case) -> list[Evidence]:
    if any(stats.nonfinite for stats in case.parameters):
        return [Evidence("parameters are not even finite", -6.0, "parameter-scale")]
    if case.symptom.step != 0 or not case.parameters:
        return []
    if parameter_scale(case) >= GARBAGE:
        return [Evidence(f"parameters of {show(parameter_scale(case))} were never drawn at all", -4.0,
                         "parameter-scale")]
    worst = max(case.parameters, key=initial_excess)
    excess = initial_excess(worst)
    if excess >= 3.0:
        return [Evidence(f"weights of `{worst.name}` are {show(excess)} times larger than its fan-in allows", 3.0,
                         "parameter-scale")]
    return [Evidence("weights have the size their fan-in asks for", -1.5, "parameter-scale")]


def predict(case: Case) -> list[Prediction]:
    """With weights drawn for their fan-in the step passes: those that are too large, or all of them; with the same numbers in
    another order it does not."""
    steps = case.symptom.step + 1
    large = tuple(stats.name for stats in case.parameters if initial_excess(stats) >= 3.0) if steps == 1 else ()
    if len(large) >= LISTED:  # there may be more of them
        large = ()
    names = ((large,) if large else ()) + ((),)
    return [Prediction(State("parameters", "scaled-draw", some), breadth=0 if some else 1, steps=steps) for some in names]
