"""Questions about a division by 0 that happened to the data before the step."""

from __future__ import annotations

from stayfinite.catalog.clues import birth
from stayfinite.records.incident import Case
from stayfinite.records.tensor import TensorStats

SPREADS = frozenset({"std", "var", "ptp"})
"""Kinds whose result is 0 over values that are all alike. ``ptp``: the largest minus the smallest."""
NORMALIZERS = SPREADS | {"sum", "norm", "max", "min", "mean", "median", "count", "abs"}
"""Kinds by whose result a sample is brought to a common scale."""


def zero_divisor(case: Case) -> TensorStats | None:
    """The divisor of the division that made the bad value before the step, if it is 0 there."""
    made = birth(case)
    if made is None or made.op not in ("div", "reciprocal") or not made.inputs:
        return None
    divisor = made.inputs[-1]
    return divisor if divisor.culprit == 0.0 or (divisor.culprit is None and divisor.zero) else None


def divided_by(case: Case) -> str:
    """The kind of what made that divisor; empty if it is not known."""
    made = birth(case)
    return made.operand_by if made is not None else ""


def few_samples(case: Case) -> bool:
    """True if some samples of the batch are bad and others are not."""
    samples = case.origin.samples if case.origin is not None else ()
    return bool(samples) and case.batch_size is not None and len(samples) < case.batch_size
