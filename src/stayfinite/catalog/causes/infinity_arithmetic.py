"""An infinity that was put in on purpose met another one, or a zero.

What happens
------------
inf - inf, 0 * inf and inf / inf are NaN. An -inf is a fine sentinel for a maximum or a softmax, and poison for
anything that adds, multiplies or computes a loss from it: binary cross-entropy on logits of -inf subtracts two
infinities.

How to recognise it
-------------------
The origin's inputs hold infinities (no NaN), its output is NaN, and something earlier wrote the infinities there: a
mask, a constant, an unreachable score.

What to do
----------
Use a large finite number for what is masked (-1e4 in float16, -1e9 in float32), or take masked entries out before the
loss.

Example
-------
::

    logits = logits.masked_fill(mask, float("-inf"))
    loss = F.binary_cross_entropy_with_logits(logits[~mask], labels[~mask])

References
----------
pytorch/pytorch#49844, pytorch/pytorch#102894
"""

from __future__ import annotations

import math

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import inputs, kind, output, scalars
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.operator_predictions import finite_operands
from stayfinite.catalog.ops import KINDS
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show

_NORMALISING = frozenset({"softmax", "log_softmax", "logsumexp", "attention"})

TITLE = "Arithmetic with infinities"
PRIOR = prior(threads=2)
APPLIES_TO = Scope(
    phases=COMPUTED, kinds=frozenset(name for name, kind in KINDS.items() if not kind.has("leaf")) - _NORMALISING
)
EXAMPLES = ("infinity-arithmetic", "grid-dqn", "legal-moves-distillation", "next-job")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """Infinities among the inputs, NaN in the output, and who wrote the infinities."""
    given, made = inputs(case), output(case)
    infinite = next((stats for stats in given if stats.posinf or stats.neginf), None)
    written = next((value for value in scalars(case).values() if math.isinf(value)), None)
    if infinite is None and written is not None and made is not None and made.nan and not any(stats.nan for stats in given):
        return [Evidence(f"the line computes with {show(written)}, and {made.nan} results are NaN", 8.5, "operand-value")]
    if infinite is None:
        return [Evidence("no infinity went in", -9.0, "operand-value")]
    if any(stats.nan for stats in given):
        return [Evidence("NaN went in as well: it was made before", -6.0, "operand-value")]
    count = infinite.posinf + infinite.neginf
    found = [Evidence(f"`{infinite.name}` holds {count} infinities, and {kind(case).name} computes with them", 7.0,
                      "operand-value")]
    if made is not None and made.nan:
        found.append(Evidence(f"{made.nan} results are NaN", 1.5, "output"))
    writer = next((call for call in case.trace.calls if call.sentinel), None)
    if writer is not None:
        where = f" at line {writer.location.line}" if writer.location.line else ""
        found.append(Evidence(f"{writer.kind}{where} put infinities in on purpose", 1.5, "mask"))
    return found


def predict(case: Case) -> list[Prediction]:
    """With large numbers in the place of the infinities the step passes."""
    return finite_operands(case)
