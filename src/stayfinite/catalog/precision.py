"""What half-precision formats did to the numbers of a case: epsilons that are 0 in them, results that they lost."""

from __future__ import annotations

import re

from stayfinite.catalog.clues import dtypes, phase, scalars, source_text
from stayfinite.catalog.dtypes import DtypeFacts, dtype_facts
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.numbers import to_float
from stayfinite.records.trace import Flush, Wrap

HALF = frozenset({"float16", "bfloat16"})
_GUARDS = frozenset({"add", "clamp", "max"})
_NUMBER = re.compile(r"(?<![\w.])(\d+\.?\d*[eE]-\d+|0?\.0\d+)")


def narrowest(case: Case) -> DtypeFacts | None:
    """Of the formats at the origin (and those of the parameters, in the optimizer) the one that loses small numbers
    first; ``None`` if none is known."""
    names = dtypes(case) or frozenset(case.configuration.parameter_dtypes)
    if phase(case) == "optimizer":
        names |= frozenset(case.configuration.parameter_dtypes)
    known = [facts for name in sorted(names) if (facts := dtype_facts(name)) is not None]
    return max(known, key=lambda facts: facts.smallest, default=None)


def epsilons(case: Case) -> list[float]:
    """The small numbers that stand at the origin, or those of the optimizers if it is there."""
    if phase(case) == "optimizer":
        return [o.epsilon for o in case.configuration.optimizers if o.epsilon is not None]
    written = [float(text) for text in _NUMBER.findall(source_text(case))]
    return [value for value in (*scalars(case).values(), *written) if value < 1e-2]


def lost_epsilon(case: Case) -> float | None:
    """An epsilon at the origin that is 0 in its format (below half of the smallest number); ``None`` without one."""
    narrow = narrowest(case)
    if narrow is None:
        return None
    return next((value for value in (*epsilons(case), *_added(case)) if 0.0 < value <= narrow.smallest / 2.0), None)


def _added(case: Case) -> tuple[float, ...]:
    """What was added, whatever it is called, to the 0 that the origin met. A sum of two numbers of the format is never lost to
    it (IEEE 754: it is a multiple of the smallest number), so one of them was none."""
    lost = flush_behind(case)
    return (to_float(lost.largest),) if lost is not None and lost.kind in _GUARDS else ()


def flush_behind(case: Case) -> Flush | None:
    """The call that lost to its format what the origin then met as 0; ``None`` if nothing was lost there."""
    origin = case.origin
    if origin is None:
        return None
    born = [
        call for call in case.trace.calls
        if call.born and call.flushed >= 0 and (call.index in case.path or call.location.line == origin.location.line)
    ]
    wanted = next((call.flushed for call in born), None)
    return next((one for one in case.trace.flushes if one.index == wanted), None)


def wrap_behind(case: Case) -> Wrap | None:
    """The call that left the range of its whole numbers, of which the origin's operand was made; ``None`` if none did."""
    origin = case.origin
    if origin is None:
        return None
    wanted = next((call.wrapped for call in case.trace.calls if call.born and call.wrapped >= 0
                   and (call.index in case.path or call.location.line == origin.location.line)), None)
    return next((one for one in case.trace.wraps if one.index == wanted), None)


def against_wraps(case: Case) -> list[Evidence]:
    """For causes that blame the value at the origin: whole numbers left their range before, and made it."""
    wrap = wrap_behind(case)
    if wrap is None:
        return []
    return [Evidence(f"it was made of whole numbers that left the range of {wrap.dtype} (line {wrap.location.line})", -4.0, "made-of")]


def gradients_lost(case: Case) -> tuple[Flush, ...]:
    """The calls of the backward pass that lost at least half of their result to a half-precision format."""
    return tuple(one for one in case.trace.flushes if one.phase == "backward" and 2 * one.count >= one.size)
