"""Within one backward pass the gradient shrank from layer to layer, or from time step to time step, to nothing.

What happens
------------
The gradient of an early layer is a product of the slopes of all later ones. The slope of a sigmoid is at most 1/4, that of
tanh at most 1, and small weights make it less: fourteen sigmoids leave 1e-10. Last layers then learn from first ones that
are what they were drawn as. In a recurrent network it is the beginning of a sequence that cannot be learned from.

How to recognise it
-------------------
The loss stays at what a constant prediction gets. In the repeated step no activation is dead or flat, and yet the gradient
of the first weights is 1e-7 or less of that of the last, or what reached the first time step is.

What to do
----------
Rectifiers with their own initialisation, normalisation, residual connections; gates (LSTM, GRU), attention, or shorter
sequences. A larger rate does not help: the layers need rates that differ by as much as their gradients.

Example
-------
::

    for layer in self.hidden:
        x = torch.sigmoid(layer(x))                               # x = x + torch.relu(layer(x))

References
----------
Bengio et al. 1994; Glorot and Bengio 2010; He et al. 2015
"""

from __future__ import annotations

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import amplitude, origin_location
from stayfinite.catalog.places import layer
from stayfinite.catalog.surveyed import (
    MOSTLY,
    NOTHING_LEARNED,
    UNROLLED,
    VANISHED,
    left_of,
    reached,
    share_of_units,
    shrinking_calls,
    surveyed,
)
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Place, Prediction, Scaled, State
from stayfinite.records.location import Location
from stayfinite.records.numbers import show

TITLE = "Vanishing gradient"
PRIOR = prior(threads=0)
APPLIES_TO = Scope(detectors=NOTHING_LEARNED)
EXAMPLES = ("deep-digits", "first-bracket")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def locate(case: Case) -> Location:
    """The line whose calls together leave least of the gradient; where it calls modules, the one that builds them."""
    chain = shrinking_calls(case)
    return layer(case, chain[0].kind, chain[0].location) if chain and chain[0].location.file else origin_location(case)


def evidence(case: Case) -> list[Evidence]:
    """How the gradients of the weights differ, and how it shrank from call to call."""
    found = [*_calls(case), *_weights(case)]
    if len(found) == 2 and found[0].bits > 0.0 > found[1].bits:
        found.pop()  # weights that all time steps share get their gradient from the last ones
    if not found:
        return [Evidence("it is not known how the gradient ran through the layers", -4.0, "gradient-slope")]
    if any(units.saturated >= MOSTLY and units.kind != "softmax" for units in surveyed(case).units):
        found.append(Evidence("an activation is flat: the gradient does not shrink, it is held back", -4.0, "units"))
    if any(units.kind == "relu" and share_of_units(units) >= MOSTLY for units in surveyed(case).units):
        found.append(Evidence("a rectifier is dead: the gradient does not shrink, it is held back", -4.0, "units"))
    return found


def _weights(case: Case) -> list[Evidence]:
    sizes = [(amplitude(state.gradient), state.name) for state in reached(case) if state.gradient and len(state.shape) > 1]
    if len(sizes) < 3:
        return []
    least, most = min(sizes), max(sizes)
    share = least[0] / most[0] if most[0] else 1.0
    told = f"the gradient of `{least[1]}` is {show(share)} of that of `{most[1]}`"
    bits = 7.0 if share <= VANISHED else 4.0 if share <= 1e-5 else 1.0 if share <= 1e-4 else -3.0
    return [Evidence(told, bits, "gradient-slope")]


def _calls(case: Case) -> list[Evidence]:
    chain = shrinking_calls(case)
    if len(chain) < 2:
        return []
    share = left_of(chain)
    told = f"{len(chain)} calls of a {chain[0].kind} leave {show(share)} of the gradient of the last one"
    unrolled = len(chain) >= UNROLLED
    bits = (8.0 if unrolled else 4.0) if share <= VANISHED else -3.0 if share > 1e-4 else 0.5
    return [Evidence(told, bits, "calls")]


def predict(case: Case) -> list[Prediction]:
    """With what the activations are given scaled before each of them, the gradient arrives; or with each unit scaled over the batch, as
    a normalising layer would do it (of units that are alike for all samples a common deviation leaves little); or, in a network that
    is unrolled, with weights that are drawn for their fan-in."""
    chain = shrinking_calls(case)
    if not chain or not chain[0].location.file:
        return []
    place = Place(chain[0].kind, chain[0].location.file, chain[0].location.line)
    units = [Prediction(Scaled(place)), Prediction(Scaled(place, each=True))]
    return [*units, Prediction(State("parameters", "scaled-draw"), breadth=1)]
