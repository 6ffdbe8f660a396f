"""A guard after the operation hides its bad value, but not its bad slope.

What happens
------------
`torch.where(x > 0, torch.log(x), 0)` computes the logarithm of every element and then picks. In the backward pass the
elements that were not picked get a gradient of 0, and 0 times an infinite slope is NaN. Multiplying with a mask does
the same.

How to recognise it
-------------------
The loss is finite, the gradient is NaN. Either the forward pass made an infinity that a `where` or a mask took away
again, or the gradient that arrives at the singular element is exactly 0.

What to do
----------
Guard the input, not the output: make the argument harmless where it will not be used, then compute, then pick (the
double `where`).

Example
-------
::

    y = torch.where(x > 0, torch.log(x), 0.0)
    safe = torch.where(x > 0, x, 1.0)
    y = torch.where(x > 0, torch.log(safe), 0.0)

References
----------
pytorch/pytorch#16317, pytorch/pytorch#187297, jax-ml/jax#347, jax-ml/jax#654, tinygrad/tinygrad#15806,
Ciela-Institute/caustics#83
"""

from __future__ import annotations

import msgspec

from stayfinite.catalog.cause import Scope, prior
from stayfinite.catalog.clues import edge_value, hiding_calls, incoming_gradient, kind, masked_later
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.histories import against_growth
from stayfinite.catalog.operator_predictions import inside_domain, stable
from stayfinite.catalog.ops import op_kind
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show

TITLE = "Guarded after the operation instead of before"
PRIOR = prior(threads=6)
APPLIES_TO = Scope(phases=frozenset({"backward"}))
EXAMPLES = ("where-gradient-trap", "lens-autograd-grad", "silent-frame")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """Whether something hid a forward infinity, or a zero gradient met a singular slope."""
    hidden = _hidden(case)
    if hidden is not None:
        return [hidden, *against_growth(case)]
    found = against_growth(case)
    arrived, point = incoming_gradient(case), edge_value(case)
    if arrived == 0.0 and point is not None:
        masked = masked_later(case)
        found.append(Evidence(f"a gradient of exactly 0 arrives where the argument of {kind(case).name} is "
                              f"{show(point)}: {'the element is masked later, and ' if masked else ''}"
                              "0 times an infinite slope is NaN", 8.0 if masked else 1.0, "incoming-gradient"))
    elif arrived is not None and arrived != 0.0:
        found.append(Evidence(f"a gradient of {show(arrived)} arrives: the element is not masked", -6.0,
                              "incoming-gradient"))
    else:
        found.append(Evidence("nothing on the path hides a value", -4.0, "incoming-gradient"))
    return found


def _hidden(case: Case) -> Evidence | None:
    takers = hiding_calls(case)
    if not takers:
        return None
    line = takers[0].location.line
    if not any(call.kind in ("mul", "unknown") or op_kind(call.kind).has("selects") for call in takers):
        return Evidence(f"the forward infinity went into {takers[0].kind} at line {line}, which picks nothing", -2.0,
                        "absorbed")
    return Evidence(f"the forward pass made a non-finite value, line {line} took it away, and the backward pass "
                    "brought it back", 8.0, "absorbed")


def predict(case: Case) -> list[Prediction]:
    """With another argument where the result is thrown away the step passes, and the loss does not depend on it; in this operator
    alone, where what throws it away looks at the argument as well."""
    return [*inside_domain(case, used=False), *(msgspec.structs.replace(one, used=False) for one in stable(case, "double-where"))]
