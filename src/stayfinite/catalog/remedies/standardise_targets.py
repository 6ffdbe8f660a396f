"""Give the target mean 0 and deviation 1.

What it changes
---------------
After the line that makes the targets, their mean is subtracted and they are divided by their deviation.

When it helps
-------------
Prices in euros or distances in metres have squares of 1e12 and more: the first gradient is as large, and a usual rate far too
high.

What it may cost
----------------
Predictions are in deviations from the mean: scale them back for use.

Example
-------
::

    y = (y - y.mean()) / y.std()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stayfinite.catalog.clues import finite
from stayfinite.catalog.remedies.standardise_inputs import scaled
from stayfinite.records.diagnosis import Remedy
from stayfinite.records.incident import Case
from stayfinite.records.tensor import TensorStats

TITLE = "Give the target mean 0 and deviation 1"
CURES = ("unscaled-target", "dominant-loss-term", "masked-failure", "optimizer-arithmetic")
OTHER_LOSS = True
APPLICABILITY = "unsafe"
BREADTH = 1
ON_STEP = False
EXAMPLES = ("star-luminosity",)

def propose(case: Case, sources: Mapping[str, str]) -> Sequence[Remedy]:
    """For what losses were given, and else the tensors of the batch that no model was given."""
    given = {stats.name for stats in case.trace.model_inputs}
    origin = case.origin
    # what a layer was given by the layer before it is an activation, and no target
    names = [stats.name for stats in origin.inputs if not (origin.module and stats.made_by)] if origin is not None else []
    names += [stats.name for stats in case.batch if stats.name not in given]
    cost = "the numbers are those of one batch: take mean and deviation of the training set when you keep it"
    return scaled(__name__, case, sources, names, _by_numbers, cost)


def _by_numbers(target: TensorStats) -> str:
    """The same numbers for every batch: by its own mean each would lose what tells it from others."""
    low, high = finite(target.min), finite(target.max)
    if low is None or high is None or low == high:
        return ""
    return f"{{x}} = ({{x}} - {(low + high) / 2:.4g}) / {(high - low) / 2:.4g}"
