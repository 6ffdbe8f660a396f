"""Questions about what a finite step looked like, asked by the causes of failures whose numbers stay finite.

Everything is read from `Case.survey`; a case without one gives empty answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from stayfinite.catalog.clues import amplitude, finite, origin_location
from stayfinite.catalog.dtypes import dtype_facts
from stayfinite.catalog.histories import rate
from stayfinite.records.incident import Case
from stayfinite.records.location import Location
from stayfinite.records.numbers import Number
from stayfinite.records.survey import Barrier, LossInputs, ParameterState, Survey, Units
from stayfinite.records.tensor import TensorStats

NOTHING_LEARNED = frozenset({"dead-gradient", "plateau", "stalled-update"})
"""Symptoms of a training that goes on and learns nothing."""

MOSTLY = 0.9
"""Share of units or elements from which a layer as a whole is meant: a tenth of it is left to learn with."""
VANISHED = 1e-7
"""Share of the largest gradient from which a weight or a time step counts as not reached: the spacing of float32."""
UNROLLED = 10
"""Calls at one line from which a network counts as deep there, or unrolled over time."""


def surveyed(case: Case) -> Survey:
    """The survey of `case`; an empty one if none was taken."""
    return case.survey if case.survey is not None else Survey()


def is_nothing(gradient: TensorStats | None) -> bool:
    """True for a gradient that is missing or exactly 0 throughout."""
    return gradient is None or (gradient.zero == gradient.size and not gradient.nonfinite)


def trained(case: Case) -> tuple[ParameterState, ...]:
    """Parameters that ask for a gradient and that an optimizer has; where there is no optimizer (updates by hand), all that
    ask for one."""
    states = surveyed(case).parameters
    by_hand = not any(state.owned for state in states)
    return tuple(state for state in states if state.requires_grad and (state.owned or by_hand))


def strangers(case: Case) -> tuple[ParameterState, ...]:
    """Parameters that get a gradient and that no optimizer has, though there is one."""
    states = surveyed(case).parameters
    if not any(state.owned for state in states):
        return ()
    return tuple(s for s in states if s.requires_grad and not s.owned and not is_nothing(s.gradient))


def reached(case: Case) -> tuple[ParameterState, ...]:
    """Those of the trained parameters that had a gradient when the update was asked for."""
    return tuple(state for state in trained(case) if not is_nothing(state.gradient))


def magnitude(number: Number) -> float:
    """`number` as a magnitude; 0 if it is not finite (`Units` say ``"nan"`` where no gradient arrived)."""
    return abs(finite(number) or 0.0)


def share_of_units(units: Units) -> float:
    """Share of the units that gave exactly 0 for every sample."""
    return units.dead / units.units if units.units else 0.0


def units_location(case: Case, units: Units | None) -> Location:
    """The line of an activation; that of the origin where there is none, or its line is not known."""
    return units.location if units is not None and units.location.file else origin_location(case)


def same_line(a: Location, b: Location) -> bool:
    """True if both are the same known line."""
    return bool(a.file) and (a.file, a.line) == (b.file, b.line)


def output_of(case: Case, location: Location) -> LossInputs | None:
    """The loss whose prediction was made at `location`; ``None`` if what is made there goes on through the model."""
    return next((loss for loss in surveyed(case).losses if same_line(loss.made_at, location)), None)


def ends_at(case: Case, location: Location) -> bool:
    """True if a gradient ends at `location`, or nothing is left of it there."""
    return any(barrier.blocked >= MOSTLY and same_line(barrier.location, location) for barrier in surveyed(case).barriers)


def behind(case: Case, location: Location) -> tuple[str, ...]:
    """The parameters whose gradient ends at `location`."""
    ends = [barrier for barrier in surveyed(case).barriers if same_line(barrier.location, location)]
    return tuple(dict.fromkeys(name for barrier in ends for name in barrier.parameters))


def is_floor_of_zero(barrier: Barrier) -> bool:
    """True for a limit from below at 0 and none from above: a rectifier by hand, a hinge."""
    numbers = [scalar.value for scalar in barrier.scalars]
    return barrier.kind in ("clamp", "max") and numbers == [0.0] and not barrier.native_op.startswith("aten.clamp_max")


def is_origin(case: Case, location: Location) -> bool:
    """True if the failure was located at `location`."""
    return case.origin is not None and same_line(case.origin.location, location)


def input_reach(units: Units) -> float:
    """Largest magnitude of what went into an activation; 0 if it is not known."""
    return amplitude(units.input) if units.input is not None else 0.0


def replaced_share(barrier: Barrier) -> float:
    """Share of what an operator was given that was not finite and came out finite; 1 if its size is not known."""
    size = max((stats.size for stats in barrier.inputs), default=0)
    return barrier.replaced / size if size else float(barrier.replaced > 0)


def was_cleared(case: Case) -> bool:
    """True if the backward pass delivered gradients, and at the update no trained parameter had one."""
    states = trained(case)
    return bool(states) and all(state.gradient is None or state.gradient.zero == state.gradient.size for state in states) and any(
        magnitude(state.arrived) > 0.0 for state in states
    )


def is_rounded(case: Case, state: ParameterState) -> bool:
    """True if no element of at least a quarter of the largest magnitude can move: its spacing in half precision is too wide.

    The update is at most rate times gradient for plain descent, about the rate for the others. It is lost where it is less
    than half the spacing, which is at least half of epsilon times the element.
    """
    facts, pace = dtype_facts(state.dtype), rate(case)
    if facts is None or facts.bits > 16 or pace is None or state.gradient is None:
        return False
    plain = all(optimizer.kind == "SGD" for optimizer in case.configuration.optimizers)
    wanted = pace * (amplitude(state.gradient) if plain else 1.0)
    return wanted < facts.epsilon * magnitude(state.magnitude) / 16.0 and magnitude(state.change) <= 2.0 * wanted


def left_of(calls: Sequence[Units]) -> float:
    """What the first of several calls got of the gradient, as a share of what the last ones got."""
    last = max((magnitude(units.gradient) for units in calls[-3:]), default=0.0)
    return magnitude(calls[0].gradient) / last if last else 1.0


def shrinking_calls(case: Case) -> tuple[Units, ...]:
    """The calls of one line, in the order they ran: of the lines that were called three times or more, those of the one that
    left least of the gradient; without such a line all activations that a gradient reached."""
    alive = [units for units in surveyed(case).units if magnitude(units.gradient) > 0.0]
    lines: dict[tuple[str, int], list[Units]] = {}
    for units in alive:
        lines.setdefault((units.location.file, units.location.line), []).append(units)
    repeated = [tuple(calls) for calls in lines.values() if len(calls) >= 3]
    return min(repeated, key=left_of, default=tuple(alive))
