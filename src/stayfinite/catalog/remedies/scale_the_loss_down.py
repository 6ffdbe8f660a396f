"""Bring the gradients to a size that the optimizer can square.

What it changes
---------------
The loss is multiplied by a power of ten where it is differentiated, so that the gradients that were seen become of the size of 1.
What is printed and compared stays as it was.

When it helps
-------------
Adam and its kin keep averages of squared gradients: with beta2 = 0.999 these end at gradients of 5.8e20 in float32, and of 8.1e3 in
float16. Their updates do not depend on the scale of the loss, so nothing else changes. Losses in squared metres, in bytes or in
francs have such gradients.

What it may cost
----------------
Beside a term that is differentiated on its own, the scaled one weighs less. Better is to measure the quantity in a unit of its size.

Example
-------
::

    (loss * 1e-22).backward()
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence

from stayfinite.catalog.clues import finite, largest_amplitude
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.edits.seeking import differentiated
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.histories import own_window
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case

TITLE = "Scale the loss down"
CURES = ("optimizer-arithmetic",)
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
OTHER_LOSS = True
EXAMPLES = ("orbits-in-metres",)

NEAR = 0.03
"""Of the root of the largest number: a gradient above it comes to squares that the format does not hold within some updates."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Where an optimizer that squares gradients was given one whose square its format does not hold."""
    squares = any(len(one.betas) > 1 or one.kind in ("RMSprop", "Adagrad", "Adadelta") for one in case.configuration.optimizers)
    gradient = max(largest_amplitude(case), finite(next(iter(own_window(case, "gradient_norm").values[-1:]), None)) or 0.0)
    formats = [facts for name in case.configuration.parameter_dtypes if (facts := dtype_facts(name)) is not None]
    limit = math.sqrt(min((facts.largest for facts in formats), default=math.inf))
    losses = list(differentiated(Project(sources)))
    if not squares or gradient < NEAR * limit or len(losses) != 1:
        return []
    source, loss = losses[0]
    factor = f"1e-{round(math.log10(gradient))}"
    says = f"Scale the loss by {factor}: gradients of {gradient:.1e} have squares that the optimizer cannot hold"
    scaled = f"{source.operand(loss)} * {factor}"
    alone = isinstance(source.parents.get(loss), ast.Call)  # an argument needs no parentheses
    return [offered(__name__, sources, [source.replace(loss, scaled if alone else f"({scaled})")], says=says)]
