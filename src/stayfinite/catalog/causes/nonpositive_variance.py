"""A variance, or another scale that must be positive, was 0 or negative.

What happens
------------
A standard deviation, a variance, a precision or a bandwidth only makes sense above 0. A layer that predicts it can give
any number; a rectifier gives exact zeros; an exponential or a softplus underflows to 0; and a variance computed as the
mean of squares minus the square of the mean comes out as -1e-7 by rounding, where the numbers are large and alike. Its
root and its logarithm are NaN, a division by it is an infinity, and a distribution refuses it.

How to recognise it
-------------------
A distribution or a Gaussian loss refused its scale, or the origin is a root, a logarithm or a division whose operand is a
scale that the network predicts, or a difference of means, and that operand is 0 or negative.

What to do
----------
Make it positive by construction: `softplus(z) + 1e-4`, or predict the logarithm and keep it within bounds. Compute a
variance from deviations, `((x - mean) ** 2).mean()`, or with `var`; never as a difference of two large numbers.

Example
-------
::

    scale = self.scale(h)
    scale = F.softplus(self.scale(h)) + 1e-4

References
----------
mllam/neural-lam#537, ethanhe42/KL-Loss#4, DLR-RM/stable-baselines3#1593
"""

from __future__ import annotations

import re

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import (
    against_hidden,
    edge_value,
    finite,
    inputs,
    is_spread,
    kind,
    operand,
    origin_location,
    raised,
    source_text,
)
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import inside_domain, is_used
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.location import Location
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

_REFUSED = (
    r"(scale|std\w*|stddev|sigma|var\w*|covariance_matrix|concentration\w*|rate|df|precision_matrix|scale_tril)\W.*constraint"
    r"|Expected parameter (scale|std|sigma|var|covariance_matrix|concentration\d?|rate|df|precision_matrix|scale_tril)"
    r"|negative entr(y|ies)|std >= 0|standard deviation"
)
_SCALE = re.compile(
    r"(^|[^a-z])(log_?)?(std|stds|stdv|sd|sds|var|vars|variance|variances|sigma|sigmas|sigma2|sigma_sq|scale|scales|spread"
    r"|precision|bandwidth|tau|noise|dispersion)\d?([^a-z]|$)|_(std|var|sigma|scale)|(std|var|sigma|scale|variance)_",
    re.IGNORECASE,
)
_SHORT = re.compile(r"\(?s[12pq]?(\s*\*\*\s*2)?\)?")
_LIKELIHOOD = re.compile(r"kl|gauss|normal|nll|log_?prob|likelihood|divergence|density", re.IGNORECASE)
_OPERATIONS = frozenset({"log", "sqrt", "rsqrt", "div", "reciprocal", "pow", "xlogy"})
_AVERAGING = frozenset({"mean", "sum", "avg_pool", "conv", "cumsum", "matmul"})
_MEASURED = frozenset({"var", "std"})
_KEPT = frozenset({"sub", "clamp", "max", "relu", "abs", "add", "mul", "div", "sqrt", "mean"})
"""What a difference is passed through and stays one; a sigmoid of it is another number."""
_LESS_A_SQUARE = re.compile(r"(?<![\d.])(?:[A-Za-z_][\w.]*|[\])])\s*-\s*(?:[\w.]+\s*\*\*\s*2|[\w.]+\.square\(\)|([\w.]+)\s*\*\s*\1(?!\w))")

TITLE = "Variance that is not positive"
PRIOR = prior(threads=3)
APPLIES_TO = Scope(
    phases=COMPUTED, kinds=_OPERATIONS | {"distribution", "sample", "gaussian_nll"}, messages=_REFUSED
)
EXAMPLES = ("negative-scale", "intensity-texture", "probabilistic-forecast")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """The operand against 0, whether it is a scale, and what made it."""
    if any(stats.nonfinite for stats in inputs(case)):
        return [Evidence("its input was not finite: it was made before", -9.0, "operand-value")]
    found = [*against_growth(case), *against_hidden(case)]
    if raised(case, _REFUSED):
        found.append(Evidence("a scale was refused that must be positive", 10.0, "exception"))
        if kind(case).name in ("distribution", "sample", "gaussian_nll"):
            found.append(Evidence(f"the origin is {kind(case).name}", 3.0, "origin-kind"))
        named = [stats for stats in inputs(case) if _SCALE.search(stats.name)] or list(inputs(case))
        least = min((low for stats in named if (low := finite(stats.min)) is not None), default=None)
        if least is not None and least <= 0.0:
            found.append(Evidence(f"it is {show(least)} at its least", 2.0, "operand-value"))
        return found
    value, scale = edge_value(case), operand(case)
    if scale is None or value is None or value > 0.0:
        return [*found, Evidence("the operand is positive", -8.0, "operand-value")]
    made = f", made at line {scale.made_at.line}" if scale.made_at is not None else ""
    found.append(Evidence(f"`{scale.name}` is {show(value)}{made}", 3.0, "operand-value"))
    if _is_difference(scale):
        found.append(Evidence("it is a difference of a mean of squares and a squared mean", 7.5, "scale"))
    elif value < 0.0 and _LESS_A_SQUARE.search(scale.name) and _SCALE.search(_place(case)):
        found.append(Evidence(f"`{scale.name}` is a moment less the square of another", 6.5, "scale"))
    elif _MEASURED & set(scale.made_by[:2]) or is_spread(scale):
        found.append(Evidence("it was measured, and values without spread have spread 0", -3.0, "scale"))
    elif _SCALE.search(scale.name) is not None or (_SHORT.fullmatch(scale.name) and _LIKELIHOOD.search(_place(case))):
        found.append(Evidence(f"`{scale.name}` is a scale that must be positive", 6.5 if scale.made_by else 3.0, "scale"))
    elif _is_rectified(scale) and kind(case).name in ("log", "xlogy") and not _LIKELIHOOD.search(_place(case)):
        found.append(Evidence(f"a layer predicts `{scale.name}`, and only its logarithm is taken: nothing says that it is a scale",
                              -3.0, "scale"))
    elif _is_rectified(scale):
        found.append(Evidence(f"a layer predicts `{scale.name}`, and what keeps it from being negative lets it be 0", 7.0, "scale"))
    elif _SCALE.search(source_text(case)) is not None and value < 0.0:
        found.append(Evidence("the line speaks of a scale", 2.0, "scale"))
    else:
        found.append(Evidence("nothing says that it is a scale", -5.0, "scale"))
    return found


def locate(case: Case) -> Location:
    """Where the scale was made, if an operator of the step made it; else where it was refused."""
    scale = operand(case) if kind(case).name in _OPERATIONS else None
    if scale is not None and scale.made_at is not None and scale.made_at.file and (_is_difference(scale) or _is_rectified(scale)):
        return scale.made_at
    return origin_location(case)


def _place(case: Case) -> str:
    where = origin_location(case)
    return f"{where.function} {where.code}"


def _is_rectified(scale: TensorStats) -> bool:
    """True for what a layer gives and an activation makes non-negative, to be divided by."""
    return scale.made_by[:1] in (("relu",), ("softplus",), ("exp",)) and scale.made_by[1:2] in (("matmul",), ("conv",))


def _is_difference(scale: TensorStats) -> bool:
    """True for E[x^2] - E[x]^2 and its kin: a subtraction, fed by a mean or a sum, fed by squares."""
    made = scale.made_by
    if "sub" not in made[:2] or made[0] not in _KEPT or {"count", "scatter"} & set(made):
        return False
    fed = made.index("sub") + 1
    averaged = next((at for at, kind in enumerate(made) if kind in _AVERAGING and at >= fed), len(made))
    return bool({"pow", "mul"} & set(made[averaged + 1 :]))


def predict(case: Case) -> list[Prediction]:
    """With the scale kept above 0 the step passes."""
    return inside_domain(case, used=is_used(case))
