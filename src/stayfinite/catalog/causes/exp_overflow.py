"""An exponential was taken of a number beyond the range of the format.

What happens
------------
exp(x) leaves float32 at 88.72, float16 at 11.09, float64 at 709.78 (the logarithm of the largest finite number).
Typical arguments are a predicted log-variance, an energy, a score that nothing bounds.

How to recognise it
-------------------
The origin is an exponential (or sinh, cosh) and its argument at the bad element is above that limit, on a batch of
ordinary data, without a long growth of the loss before.

What to do
----------
Stay in log space, or bound the argument where it is predicted (a log-variance within -30 and 20, or a soft bound such
as 5 * tanh(z / 5)). If the loss had been growing for steps, the exponential is only where the growth ended.

Example
-------
::

    kl = (mu**2 + torch.exp(logvar) - 1 - logvar).mean()
    kl = (mu**2 + torch.exp(logvar.clamp(-30, 20)) - 1 - logvar).mean()

References
----------
vanderschaarlab/synthcity#331, pyg-team/pytorch_geometric#500, ethanhe42/KL-Loss#4, NVlabs/NVAE#27,
AntixK/PyTorch-VAE#16
"""

from __future__ import annotations

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import dtypes, kind, offending, operand, output
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import below_limit, softmax_by_hand
from stayfinite.catalog.scales import data_scale
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show

TITLE = "Exponential overflow"
PRIOR = prior(threads=6)
APPLIES_TO = Scope(phases=COMPUTED, kinds=frozenset({"exp", "exp2", "sinh", "cosh"}))
EXAMPLES = ("exp-overflow", "log-cosh-lbfgs", "rate-regression")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The argument against the format's limit, and whether it grew there or was there at once."""
    here, made, argument = kind(case), output(case), operand(case)
    dtype = made.dtype if made is not None else argument.dtype if argument is not None else "float32"
    limit = here.overflow_limit(dtype)
    found = [Evidence(f"the origin is {here.name}", 3.0, "origin-kind"), *against_growth(case)]
    name = f"`{argument.name}`" if argument is not None else "the argument"
    both_sides = here.name in ("sinh", "cosh")
    value = offending(case, lambda x: (abs(x) if both_sides else x) > limit)
    if value is None:
        found.append(Evidence(f"{name} stays within {show(limit)}, the limit in {dtype}", -7.0, "operand-value"))
        return found
    found.append(Evidence(f"{name} is {show(value)}; the limit in {dtype} is {show(limit)}", 3.5, "operand-value"))
    if "float16" in dtypes(case) and abs(value) <= here.overflow_limit("float32"):
        wider = here.overflow_limit("float32")
        found.append(Evidence(f"in float32 the limit is {show(wider)}: the format was too small", -3.0, "format"))
    size = data_scale(case)
    if size >= 100.0 and abs(value) >= size / 3.0:
        found.append(Evidence(f"the batch itself holds values up to {show(size)}", -2.0, "data-scale"))
    return found


def predict(case: Case) -> list[Prediction]:
    """With the argument kept below the limit of its format the step passes; subtracting the largest one does not help."""
    return below_limit(case, placebo=softmax_by_hand(case))
