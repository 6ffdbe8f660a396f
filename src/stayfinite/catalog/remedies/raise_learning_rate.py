"""Raise the learning rate.

What it changes
---------------
The rate is ten or a hundred times as large.

When it helps
-------------
Updates are so small beside the weights that the format rounds them away, or gradients come through a deep network so small
that nothing moves.

What it may cost
----------------
A rate that is too high ends in a divergence; the trial says whether it does here.

Example
-------
::

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.clues import finite
from stayfinite.catalog.edits.rates import the_rate, written
from stayfinite.catalog.remedy import offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Update
from stayfinite.records.numbers import show

TITLE = "Raise the learning rate"
CURES = ("frozen-parameters", "vanishing-gradient")
APPLICABILITY = "unsafe"
BREADTH = 2
ON_STEP = False
OF_UPDATES = True
EXAMPLES = ("half-the-bytes",)

HIGHEST = 1.0
"""No rate beyond it is proposed: every optimizer diverges there but plain gradient descent on tiny losses."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Ten, a hundred and three hundred times, up to 1."""
    rates = [finite(value) for one in case.configuration.optimizers for value in one.rates]
    if case.symptom.detector not in ("plateau", "stalled-update", "dead-gradient") or not rates or not all(rates):
        return []
    found = the_rate(case, sources)
    if found is None:
        return [offered(__name__, sources, None, Update(rate=100.0), says="the source does not show which number the rate is: make it "
                        "a hundred times as large")]
    source, node, value = found
    return [
        offered(__name__, sources, [source.replace(node, written(value * factor))], Update(rate=factor),
                says=f"Raise the learning rate from {show(value)} to {show(value * factor)}")
        for factor in (100.0, 300.0, 10.0) if value * factor <= HIGHEST
    ]
