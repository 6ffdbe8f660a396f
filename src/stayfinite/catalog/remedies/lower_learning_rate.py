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
from collections.abc import Mapping, Sequence

from stayfinite.catalog.edits.rates import RATE, the_rate, written
from stayfinite.catalog.edits.seeking import statement_at
from stayfinite.catalog.edits.tracing import Project
from stayfinite.catalog.edits.views import number
from stayfinite.catalog.places import rate
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


def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """A tenth, a hundredth, and a thousandth for what is summed where it should be averaged."""
    place, found = rate(case), the_rate(case, sources)
    change = Update(rate=0.1)
    if found is None and place is None:
        by_hand = _by_hand(case, sources)
        if by_hand:
            return by_hand
        if not case.configuration.optimizers:
            return []
        return [offered(__name__, sources, None, change, says="the source does not show which number the rate is: make it a tenth")]
    if found is None:
        assert place is not None
        return [offered(__name__, sources, None, change, says=f"the rate of {place.file}:{place.line} is computed there: make it a tenth")]
    source, node, value = found
    offers = []
    for factor in (0.1, 0.01, 0.001):
        says = f"Lower the learning rate from {show(value)} to {show(value * factor)}"
        offers.append(offered(__name__, sources, [source.replace(node, written(value * factor))], Update(rate=factor), says=says,
                              cost="training takes longer to come as far"))
    return offers


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
