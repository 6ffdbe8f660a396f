"""Lower the learning rate to a tenth.

What it changes
---------------
The number in the source that is the rate, wherever it stands: in the optimizer's call, a constant, a setting, a default.

When it helps
-------------
Where steps are larger than the curvature allows: the loss grows from step to step until a format cannot hold it. It also puts off
failures that come with progress, which is no cure: a trial that has not come as far proves nothing.

What it may cost
----------------
Training takes longer to come as far. Warm-up or clipping may be enough.

Example
-------
::

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)     # not lr=0.1
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.rates import RATE, computed, the_rate, written
from stayfinite.catalog.edits.seeking import statement_at
from stayfinite.catalog.edits.source import Source
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.catalog.places import fastest, highest_rate, rate
from stayfinite.catalog.remedy import location, offered
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Update
from stayfinite.records.numbers import show

TITLE = "Lower the learning rate"
CURES = (
    "learning-rate-too-high", "exploding-gradient", "bad-initialization", "exp-overflow", "dominant-loss-term", "nonpositive-variance",
    "saturated-activation", "dead-relu", "unscaled-input", "unscaled-target", "naive-softmax-overflow", "half-precision-overflow",
)
APPLICABILITY = "unsafe"
BREADTH = 2
ON_STEP = False
OF_UPDATES = True
EXAMPLES = ("learning-rate-too-high", "film-factors")

FACTORS = (0.1, 0.01, 0.001)
"""What the rate is multiplied with: people step by tens, and what is summed where it should be averaged needs a thousandth."""


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """Each of `FACTORS` for the number that is the rate, or for the formula that makes it."""
    place, found = rate(case), the_rate(case, sources)
    by_hand = _by_hand(case, sources) if found is None and place is None else []
    formulas = computed(case, sources) if not by_hand else []
    if by_hand or not (place or formulas or case.configuration.optimizers):
        return by_hand
    if found is None and formulas:
        return _of_formulas(formulas, sources, FACTORS)
    if found is None:
        known = f"the rate of {place.file}:{place.line} is computed there" if place is not None else \
            "the source does not show which number the rate is"
        return [offered(__name__, sources, None, Update(rate=FACTORS[0]), says=f"{known}: make it a tenth")]
    source, node, value = found
    in_use = fastest(case)
    elsewhere = in_use is None or not math.isclose(value, highest_rate(in_use), rel_tol=1e-3)  # then another line has the last word
    offers = _of_formulas(formulas, sources, FACTORS[:2]) if formulas and elsewhere else []
    for factor in FACTORS:
        says = f"Lower the learning rate from {show(value)} to {show(value * factor)}"
        offers.append(offered(__name__, sources, [source.replace(node, written(value * factor))], Update(rate=factor), says=says,
                              cost="training takes longer to come as far"))
    return offers


def _of_formulas(formulas: Sequence[tuple[Source, ast.expr]], sources: Mapping[str, str], factors: Sequence[float]) -> list[Remedy]:
    """What is computed, times these factors: the first formula, which is nearest to the update."""
    source, formula = formulas[0]
    return [
        offered(__name__, sources, [source.replace(formula, f"{written(factor)} * {source.operand(formula)}")], Update(rate=factor),
                says=f"Take `{source.segment(formula)}` times {show(factor)} as the learning rate",
                cost="training takes longer to come as far")
        for factor in factors
    ]


def _by_hand(case: Case, sources: Mapping[str, str]) -> list[Remedy]:
    """For an update that is written by hand: the number that its line is made with under the name of a rate."""
    at = location(case)
    source = Project({at.file: sources[at.file]}).get(at.file) if at.file in sources else None
    statement = statement_at(source, at.line) if source is not None else None
    written_there = ast.walk(statement) if statement is not None else ()
    names = {one.id for one in written_there if isinstance(one, ast.Name) and RATE.search(one.id)}
    offers = []
    for node in ast.walk(source.tree) if source is not None else ():
        if not isinstance(node, ast.Assign) or source is None:
            continue
        for target in node.targets:
            pairs = zip(target.elts, node.value.elts, strict=False) if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple) \
                else [(target, node.value)]
            for name, given in pairs:
                value = number(given)
                if isinstance(name, ast.Name) and name.id in names and value:
                    says = f"Lower the learning rate from {show(value)} to {show(value * 0.1)}"
                    offers.append(offered(__name__, sources, [source.replace(given, written(value * 0.1))], says=says))
    return offers if len(offers) == 1 else []
