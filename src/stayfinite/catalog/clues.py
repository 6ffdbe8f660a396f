"""Questions about the origin of a case that several causes ask.

Everything is read from the records: a missing value gives ``None`` or a false answer, never an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.ops import DECOMPOSITIONS, OpKind, op_kind, power_in_domain, power_is_singular
from stayfinite.records.diagnosis import Evidence
from stayfinite.records.incident import Case
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import Number, is_finite, to_float
from stayfinite.records.survey import Birth, Maker
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, LeafKind, OpCall

HUGE = 1e3
"""Magnitude from which a value is no longer one of an ordinarily scaled network: standardised data and weights of
fan-in scaled layers stay below about 1e2, one power of ten is left as a margin."""


_IMPOSSIBLE = frozenset({"ctc_loss"})
"""Kinds whose infinity is no number that grew too large: the logarithm of something impossible."""


def origin_location(case: Case) -> Location:
    """Where the failure was born; the exception's place without an origin."""
    if case.origin is not None and case.origin.location.file:
        return case.origin.location
    return case.exception.location if case.exception is not None else UNKNOWN_LOCATION


def optimizer_location(case: Case) -> Location:
    """Where the first optimizer with a known place was constructed; else where the failure was born."""
    return next((o.location for o in case.configuration.optimizers if o.location.file), origin_location(case))


def kind(case: Case) -> OpKind:
    """The origin's operator kind; ``"unknown"`` without an origin."""
    return op_kind(case.origin.op if case.origin is not None else "unknown")


def phase(case: Case) -> str:
    """The origin's phase; empty without an origin."""
    return case.origin.phase if case.origin is not None else ""


def born_backward(case: Case) -> bool:
    """True if the forward values were finite and the gradient was not."""
    return phase(case) == "backward"


def inputs(case: Case) -> tuple[TensorStats, ...]:
    """Statistics of the origin's tensor operands."""
    return case.origin.inputs if case.origin is not None else ()


def output(case: Case) -> TensorStats | None:
    """Statistics of the origin's bad output."""
    return case.origin.output if case.origin is not None else None


def finite(number: Number | None) -> float | None:
    """`number` as a float if it is a finite one, else ``None``."""
    return float(number) if number is not None and not isinstance(number, str) and is_finite(number) else None


def amplitude(stats: TensorStats) -> float:
    """Largest finite magnitude; 0 if there is none."""
    return max(abs(finite(stats.min) or 0.0), abs(finite(stats.max) or 0.0))


def largest_amplitude(case: Case) -> float:
    """Largest finite magnitude among the origin's inputs; 0 if there is none."""
    return max((amplitude(stats) for stats in inputs(case)), default=0.0)


def operand(case: Case) -> TensorStats | None:
    """The tensor that the kind's domain speaks of (the divisor, the argument); ``None`` if it was a plain number."""
    at = kind(case).operand
    given = inputs(case)
    return given[at] if at < len(given) else None


def scalars(case: Case) -> dict[str, float]:
    """Plain-number operands of the origin by name: its own, or those of the kept call that it stands for."""
    if case.origin is None:
        return {}
    found = case.origin.scalars
    if not found:
        call = origin_call(case)
        found = call.scalars if call is not None else ()
    return {scalar.name: to_float(scalar.value) for scalar in found}


def origin_call(case: Case) -> OpCall | None:
    """The kept forward (or optimizer) call that the origin stands for, found by kind and place."""
    origin = case.origin
    if origin is None:
        return None
    same = [call for call in case.trace.calls if call.kind == origin.op and call.phase != "backward"]
    here = [call for call in same if call.location.line == origin.location.line]
    return next(iter(here or same), None)


def exponent(case: Case) -> float | None:
    """The exponent of a power: its scalar, or a second operand that is one number throughout."""
    numbers = scalars(case)
    if numbers:
        return numbers.get("exponent", next(iter(numbers.values())))
    given = inputs(case)
    if len(given) > 1:
        low, high = finite(given[1].min), finite(given[1].max)
        return low if low is not None and low == high else finite(given[1].culprit)
    return None


def candidates(stats: TensorStats) -> tuple[float, ...]:
    """Values that may have done it: the culprit where it is known, else zero (if there is one) and both extremes."""
    culprit = finite(stats.culprit)
    if culprit is not None:
        return (culprit,)
    zero = (0.0,) if stats.zero else ()
    return zero + tuple(v for v in (finite(stats.min), finite(stats.max)) if v is not None)


def offending(case: Case, wrong: Callable[[float], bool]) -> float | None:
    """A value of the operand for which `wrong` holds, the culprit first; ``None`` if there is none."""
    stats = operand(case)
    if stats is not None:
        return next((value for value in candidates(stats) if wrong(value)), None)
    if kind(case).operand > 0:
        return next((value for value in scalars(case).values() if math.isfinite(value) and wrong(value)), None)
    return None


def edge_value(case: Case) -> float | None:
    """The operand's value outside the kind's domain (forward) or where its slope is not finite (backward)."""
    here = kind(case)
    if here.name == "pow":
        power = exponent(case)
        if power is None:
            return None
        if born_backward(case):
            return offending(case, lambda x: power_is_singular(x, power))
        return offending(case, lambda x: not power_in_domain(x, power))
    if born_backward(case):
        return offending(case, here.singular)
    return offending(case, lambda x: not here.in_domain(x))


def steep_value(case: Case) -> float | None:
    """The operand's value at which the backward pass left the format although the operator has a finite slope there: 1 / x for a
    number below the smallest normal one. ``None`` if there is none, or if another value is singular."""
    stats = operand(case)
    if stats is None or not born_backward(case) or edge_value(case) is not None:
        return None
    here = kind(case)
    return offending(case, lambda x: here.too_steep(x, stats.dtype))


def overflowed(case: Case) -> bool:
    """True if finite inputs inside the domain gave a result beyond the format: the numbers were too large."""
    made, here = output(case), kind(case)
    if made is None or not made.nonfinite or here.has("leaf") or edge_value(case) is not None:
        return False
    if here.name in DECOMPOSITIONS or here.name.endswith("softmax") or here.name in _IMPOSSIBLE:
        return False
    if any(stats.nonfinite or not stats.size for stats in inputs(case)):
        return False
    facts = dtype_facts(made.dtype)
    if facts is None or divides_by_zero(case):
        return False
    if made.posinf or made.neginf:
        return not here.name.startswith("log") and (here.name != "div" or largest_amplitude(case) > 1.0)
    # A sum of products that overflows on both sides gives NaN at once: inf - inf inside the kernel.
    return largest_amplitude(case) > 1e-3 * math.sqrt(facts.largest)


def divides_by_zero(case: Case) -> bool:
    """True if an update made a non-finite number of small ones and of an exact 0: only a division by it can do that.

    What an optimizer computes has one kind whatever it is, without a domain to look into. Small: no product or square of two
    such numbers leaves the format, with three powers of ten to spare.
    """
    made = output(case)
    facts = dtype_facts(made.dtype) if made is not None else None
    if kind(case).name != "optimizer_update" or facts is None or any(stats.nonfinite for stats in inputs(case)):
        return False
    numbers = scalars(case).values()
    largest = max((largest_amplitude(case), *map(abs, numbers)), default=0.0)
    return largest <= 1e-3 * math.sqrt(facts.largest) and (0.0 in numbers or any(stats.zero for stats in inputs(case)))


def dtypes(case: Case) -> frozenset[str]:
    """Formats of the origin's inputs and output."""
    made = output(case)
    return frozenset(stats.dtype for stats in inputs(case)) | (frozenset({made.dtype}) if made else frozenset())


def source_text(case: Case) -> str:
    """The origin's expression, or its line, and its operands' source texts."""
    where = origin_location(case)
    return " ".join((where.expression or where.code, *(stats.name for stats in inputs(case))))


def mentions(case: Case, pattern: str) -> bool:
    """True if the origin's source text matches the regular expression `pattern`."""
    return re.search(pattern, source_text(case)) is not None


def message(case: Case) -> str:
    """The text of the exception that ended the step; empty without one."""
    return case.exception.message if case.exception is not None else ""


def raised(case: Case, pattern: str) -> bool:
    """True if the step ended with an exception whose text matches `pattern`."""
    return case.exception is not None and re.search(pattern, case.exception.message, re.IGNORECASE) is not None


def birth(case: Case) -> Birth | None:
    """Who made the value at the origin, where it was bad before the step and somebody found out."""
    return case.origin.birth if case.origin is not None else None


def made_by(case: Case) -> Maker:
    """What that was; empty if it is not known."""
    made = birth(case)
    return made.by if made is not None else ""


def birth_location(case: Case) -> Location:
    """The line of the birth; where the failure was born if there is none."""
    made = birth(case)
    return made.location if made is not None and made.location.file else origin_location(case)


def bad_leaf(case: Case, of: LeafKind) -> Leaf | None:
    """A non-finite value of that kind that was there before the step computed anything and was read."""
    return next((leaf for leaf in case.trace.leaves if leaf.kind == of and leaf.stats.nonfinite), None)


def state_born(case: Case) -> LeafKind | None:
    """Which kind of state was already bad when the step began and is the origin; ``None`` if something else is."""
    origin = case.origin
    if origin is None:
        return None
    if origin.op in ("parameter", "buffer", "moment", "gradient"):
        return origin.op  # type: ignore[return-value]
    if origin.phase != "load":
        return None
    if origin.parameter is not None:
        return "parameter"
    if origin.buffer is not None:
        return "buffer"
    kinds: tuple[LeafKind, ...] = ("parameter", "buffer", "moment", "gradient")
    return next((of for of in kinds if bad_leaf(case, of) is not None), None)


def consumers(case: Case, index: int) -> tuple[OpCall, ...]:
    """Kept calls that read what call `index` made."""
    return tuple(call for call in case.trace.calls if index in call.sources)


def backward_call(case: Case) -> OpCall | None:
    """The backward operator that made the first bad gradient of a backward-born failure."""
    if not born_backward(case):
        return None
    born = [
        call for call in case.trace.calls
        if call.phase == "backward" and call.output is not None and call.output.nonfinite
    ]
    clean = [call for call in born if not call.sentinel and not any(stats.nonfinite for stats in call.inputs)]
    return next(iter(clean or born), None)


def incoming_gradient(case: Case) -> float | None:
    """The gradient that arrived at the element which went bad, 0 included; ``None`` if it cannot be told.

    A slope is either divided into it (``grad / slope``) or made first and multiplied with it (``grad * inf``).
    """
    call = backward_call(case)
    if call is None:
        return None
    if call.kind == "div" and call.inputs:
        seen = finite(call.inputs[0].culprit)
        if seen is None and call.output is not None and call.output.nan and not call.output.nonfinite - call.output.nan:
            return 0.0 if call.inputs[0].zero else None
        return seen
    for reader in _multiplied(case, call):
        for stats in reader.inputs:
            if not stats.nonfinite:
                seen = finite(stats.culprit)
                return 0.0 if seen is None and stats.zero == stats.size else seen
    return None


def _multiplied(case: Case, call: OpCall) -> tuple[OpCall, ...]:
    """The products that what `call` made goes into, those by a plain number followed: ``grad * (n * x**(n - 1))``."""
    found: list[OpCall] = []
    wave = [call]
    while wave and len(found) < 8:
        wave = [reader for one in wave for reader in consumers(case, one.index) if reader.kind == "mul" and reader not in found]
        found += wave
        wave = [one for one in wave if all(stats.nonfinite for stats in one.inputs)]
    return tuple(found)


def hiding_calls(case: Case) -> tuple[OpCall, ...]:
    """The calls at the line named by `absorbed_at` that took a non-finite value and gave a finite one. Empty also where
    that line only sent a gradient of 0 back, the forward value being finite."""
    place = case.origin.absorbed_at if case.origin is not None else None
    if place is None:
        return ()
    return tuple(call for call in case.trace.calls if call.absorbed and call.location.line == place.line)


def masked_later(case: Case) -> bool:
    """True if a gradient of 0 came from an element that was not picked: a `where`, an index, a product with a mask.

    A zero may have other sources: a flat part (`clamp`), or the slope of what follows (a root that is squared again).
    """
    for gate in _gates(case):
        if gate.kind in ("where", "masked_fill", "index", "scatter", "nan_to_num"):
            return True
        if gate.kind == "mul":
            masks = (stats.zero and finite(stats.min) == 0.0 and finite(stats.max) == 1.0 for stats in gate.inputs)
            return any(masks) if gate.inputs else not _squares(gate)
    return mentions(case, r"where\(|mask")


def flat_later(case: Case) -> bool:
    """True if a gradient of 0 arrived that nothing picked or weighed: it came from a flat part (a hinge, a `clamp`) or from the slope
    of what follows (a root that is squared again)."""
    weighed = any(gate.kind == "mul" and not _squares(gate) for gate in _gates(case))
    return incoming_gradient(case) == 0.0 and not weighed and not masked_later(case)


def _gates(case: Case) -> tuple[OpCall, ...]:
    """The forward calls that sent an exact 0 back to the operator of the backward pass that went bad."""
    call = backward_call(case)
    reached = (call, *consumers(case, call.index), *_multiplied(case, call)) if call is not None else ()
    return tuple(gate for gate in (case.trace.call(one.gate) for one in reached) if gate is not None)


def _squares(call: OpCall) -> bool:
    return re.fullmatch(r"\(*([\w.]+)\s*\*\s*\1\)*", call.location.expression) is not None


def against_hidden(case: Case) -> list[Evidence]:
    """For causes that lie in a forward value: born in the backward pass and not used, it is a guard that failed."""
    if not born_backward(case) or case.origin is None:
        return []
    if hiding_calls(case):
        return [Evidence("the forward infinity was hidden and came back in the backward pass", -3.0, "absorbed")]
    if incoming_gradient(case) == 0.0 and masked_later(case):
        return [Evidence("the gradient that arrives is 0: the element is not used", -3.0, "incoming-gradient")]
    return []


def is_spread(stats: TensorStats) -> bool:
    """True for a spread that was measured: a variance or its root, or a mean of squared differences by hand."""
    made = stats.made_by
    squared = next((at for at, one in enumerate(made) if one in ("pow", "mul")), len(made))
    by_hand = {"mean", "sum"} & set(made[:squared]) and "sub" in made[squared + 1 :]
    return bool({"var", "std"} & set(made)) or bool(by_hand and "sub" not in made[:squared])


def bad_rows(case: Case) -> tuple[int, int] | None:
    """(first row, rows) of the parameter at the origin, if its elements are non-finite from that row on, all of them, and
    finite before: what was added to it was never written."""
    for stats in inputs(case):
        at = stats.culprit_index
        if stats.nonfinite and len(at) == len(stats.shape) > 0 and at[0] > 0 and not any(at[1:]):
            rows = stats.shape[0]
            if stats.nonfinite * rows == stats.size * (rows - at[0]):
                return at[0], rows
    return None


def otherwise_ordinary(case: Case) -> TensorStats | None:
    """A non-finite parameter of which most elements are numbers as an initialiser draws them: of both signs, seldom
    zero, none beyond 100. Memory that was never written holds zeros, tiny and huge numbers instead."""
    for stats in case.parameters:
        if not stats.nonfinite or stats.size < 16 or stats.nonfinite * 2 > stats.size or stats.zero * 10 > stats.size:
            continue
        low, high = stats.min, stats.max
        if not isinstance(low, str) and not isinstance(high, str) and -100.0 < low < -1e-4 and 1e-4 < high < 100.0:
            return stats
    return None
