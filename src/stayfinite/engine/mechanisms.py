"""From a survey to the mechanism behind a failure whose numbers stay finite, or to the verdict that there is none.

A detector of finite symptoms only suspects. Whether there is something to tell is decided here, on what a repeated step
looked like: where the gradient ends, which units are flat, what the loss was given, whom the optimizers own. A suspicion
without a mechanism is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stayfinite.catalog.clues import amplitude
from stayfinite.catalog.surveyed import (
    UNROLLED,
    is_rounded,
    left_of,
    replaced_share,
    shrinking_calls,
    strangers,
    was_cleared,
)
from stayfinite.catalog.surveyed import trained as trained_parameters
from stayfinite.records.incident import Case, Origin
from stayfinite.records.numbers import Number, to_float
from stayfinite.records.survey import Barrier, Gain, LossInputs, ParameterState, Survey, Units
from stayfinite.records.tensor import TensorStats

EXPLODES = 1e4
"""Gain of one operator from which a jump of the gradient is put down to it; as `detectors/gradient_explosion`."""
EXPLODES_AT_ONCE = 1e8
"""The same among the first readings of an optimizer, which have nothing to be held against."""
KNOWN_AFTER = 10
"""Readings after which a gradient has a past."""
FLAT_SHARE = 0.9
"""Share of an activation's elements that are flat from which it is taken for saturated: a tenth of the batch is left to
learn from."""
VANISHES = 1e-7
"""Smallest over largest gradient of the weights: below the spacing of float32 an update of one rate cannot serve both."""
CLIPS_AWAY = 1e-3
"""Largest factor of a clipping, over all updates, from which it is taken for the reason that nothing is learned: limits are
chosen near the usual norm, and a training that begins with a norm a thousand times as large does not keep it."""
STILL = 1e-3
"""Change of a weight in one update, as a share of the largest, below which hundreds of updates do little."""
ENDS = frozenset(
    {"relu", "clamp", "sigmoid", "tanh", "softmax", "gelu", "silu", "elu", "softplus", "activation", "nan_to_num", "round", "sign",
     "min", "max", "log_softmax", "logsigmoid", "bce"}
)
"""Kinds at which a gradient ends because of the values. Where it ends because something is multiplied by 0 (a branch that
begins at zero on purpose), selected away or detached, that may be meant: such an end needs a plateau beside it."""
INDEPENDENT = "the loss that is differentiated does not depend on any parameter that an optimizer has"
_RANGES = {"sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, float("inf"))}
"""What these can give out."""
_TWICE = {"cross_entropy": ("softmax",), "bce_with_logits": ("sigmoid", "softmax")}
"""Losses that normalise by themselves, and what should not have been applied before."""


class Mechanism(NamedTuple):
    """What a survey shows. `origin`: the operator, ``None`` with a `reason` in words if it is none; `whole`: nothing that an
    optimizer has is reached by a gradient; `certain`: one survey is enough to tell it."""

    origin: Origin | None
    reason: str = ""
    whole: bool = False
    certain: bool = True


def mechanism(case: Case) -> Mechanism | None:
    """The mechanism that explains the symptom of `case`, ``None`` if its survey shows none."""
    survey = case.survey
    if survey is None:
        return None
    detector = case.symptom.detector
    if detector == "gradient-explosion":
        steep = max((gain for gain in survey.gains), key=lambda gain: to_float(gain.factor), default=None)
        known = len(case.window(case.symptom.series).values) > KNOWN_AFTER
        if steep is None or to_float(steep.factor) < (EXPLODES if known else EXPLODES_AT_ONCE):
            return None
        return Mechanism(_of_gain(steep)) if known or not _by_size(steep) else None
    if detector == "dead-gradient":
        return _dead(case, survey)
    if detector == "stalled-update":
        return _stalled(case, survey)
    if detector == "plateau":
        return _dead(case, survey) or _unlearned(case, survey)
    return None


def _dead(case: Case, survey: Survey) -> Mechanism | None:
    trained = trained_parameters(case)
    dead = {state.name for state in trained if is_nothing(state.gradient)}
    whole = len(dead) == len(trained)
    if whole and (alone := strangers(case)):
        return _unowned(alone)
    whole = whole and bool(trained)
    ends = [barrier for barrier in survey.barriers if _ends(barrier) and dead.intersection(barrier.parameters)]
    hidden = [barrier for barrier in survey.barriers if barrier.replaced and barrier.blocked > 0.0]
    plateau = case.symptom.detector == "plateau"
    if whole:
        if not hidden and _last_loss(case) == 0.0:
            return None  # nothing is left to learn
        if ends or hidden:
            return Mechanism(of_barrier(_largest([*hidden, *ends], dead)), whole=True)
        if was_cleared(case):
            return Mechanism(None, "the gradients were cleared between the backward pass and the update", whole=True)
        return Mechanism(None, INDEPENDENT, whole=True) if all(state.gradient is None for state in trained) else None
    guards = [barrier for barrier in survey.barriers if replaced_share(barrier) >= FLAT_SHARE]
    if guards:
        return Mechanism(of_barrier(guards[0]), certain=plateau)
    if plateau:
        # Of several optimizers each has its own losses: what is detached for one is meant for the other. And a smaller part may
        # follow in another way: averages, codes that are moved by hand.
        single = len(case.configuration.optimizers) < 2
        ends = [one for one in ends if not one.detached or (single and 2 * len(dead & {*one.parameters}) >= len(trained))]
        return Mechanism(of_barrier(_largest(ends, dead))) if ends else None
    wanted = dead.intersection(case.symptom.names) or dead
    # An output that lies at its bound because the loss wants it there is an answer: the quantile of what is mostly 0.
    swallowed = [
        one for one in ends
        if one.kind in ENDS and not (one.detached or one.wished) and wanted.intersection(one.parameters)
    ]
    return Mechanism(of_barrier(_largest(swallowed, wanted)), certain=False) if swallowed else None


def _stalled(case: Case, survey: Survey) -> Mechanism | None:
    """Updates that had a gradient and a rate, were taken, and changed nothing."""
    trained = trained_parameters(case)
    reached = [state for state in trained if not is_nothing(state.gradient)]
    rates = [to_float(rate) for optimizer in case.configuration.optimizers for rate in optimizer.rates]
    limit = case.configuration.clip_norm
    if not survey.stepped or _last_loss(case) == 0.0:
        return None
    if not reached and limit is None:
        return _unreached(case, survey, trained)
    if limit is not None and not reached:
        arrived = to_float(case.configuration.clipped_norm if case.configuration.clipped_norm is not None else 0.0)
        if arrived > 0.0:
            return Mechanism(None, f"clipping to a norm of {limit:g} leaves nothing of a gradient of norm {arrived:.3g}", whole=True)
    if not reached or any(to_float(state.change) != 0.0 for state in trained) or not any(rates):
        return None
    if limit is not None and _tiny(case):
        return Mechanism(None, f"clipping to a norm of {limit:g} leaves updates that are too small to change a parameter", whole=True)
    if limit == 0.0:
        return Mechanism(None, "clipping to a norm of 0 leaves nothing of the gradient", whole=True)
    return Mechanism(None, "every update is smaller than the spacing of the numbers the parameters are stored in", whole=True)


def _unreached(case: Case, survey: Survey, trained: Sequence[ParameterState]) -> Mechanism | None:
    """Why no gradient comes to anything an optimizer has."""
    if alone := strangers(case):
        return _unowned(alone)
    dead = {state.name for state in trained}
    cuts = [barrier for barrier in survey.barriers if barrier.blocked >= 1.0 and dead.intersection(barrier.parameters)]
    if cuts:
        return Mechanism(of_barrier(_largest(cuts, dead)), whole=True)
    if not trained:
        return Mechanism(None, "none of the parameters that the optimizers have asks for a gradient", whole=True)
    return Mechanism(None, INDEPENDENT, whole=True)


def _unowned(alone: Sequence[ParameterState]) -> Mechanism:
    return Mechanism(None, f"no optimizer has the parameters that get a gradient ({_listed(alone)})", whole=True)


def _tiny(case: Case) -> bool:
    found = case.configuration.clipped_norm
    limit = case.configuration.clip_norm
    return limit is not None and found is not None and limit < 1e-9 * to_float(found)


def _unlearned(case: Case, survey: Survey) -> Mechanism | None:
    """Why a loss that never fell could not fall, where gradients do arrive."""
    trained = trained_parameters(case)
    rounded = [state for state in trained if is_rounded(case, state)]
    if len(rounded) * 2 > len(trained):
        return Mechanism(None, f"most updates are smaller than the spacing of {rounded[0].dtype} numbers")
    if (left := _clipped_away(case, trained)) is not None:
        return Mechanism(None, f"clipping to a norm of {case.configuration.clip_norm:g} leaves {left:.1g} of the gradient at every update")
    misfits = [loss for loss in survey.losses if _misfits(loss)]
    if misfits:
        return Mechanism(_of_loss(misfits[0]))
    flat = [units for units in survey.units if _is_flat(units)]
    if flat:
        return Mechanism(_of_units(max(flat, key=lambda units: units.saturated)))
    if len(alone := strangers(case)) > len(trained):
        return Mechanism(None, f"no optimizer has {len(alone)} of the parameters that get a gradient ({_listed(alone)})")
    weights = [absmax(state.gradient) for state in trained if len(state.shape) > 1 and not is_nothing(state.gradient)]
    if len(weights) > 2 and min(weights) <= VANISHES * max(weights):
        shrinking = [units for units in survey.units if to_float(units.gradient) > 0.0 and to_float(units.passed) == to_float(units.passed)]
        if shrinking:
            worst = min(shrinking, key=lambda units: to_float(units.passed) / to_float(units.gradient))
            return Mechanism(_of_units(worst))
        return Mechanism(None, f"gradients of the weights span {max(weights) / min(weights):.1g}-fold")
    calls = shrinking_calls(case)
    if len(calls) >= UNROLLED and left_of(calls) <= VANISHES:
        return Mechanism(_of_units(calls[0]))
    return None


def _clipped_away(case: Case, trained: Sequence[ParameterState]) -> float | None:
    """What clipping left of the gradient at every update so far, if that is why nothing moves; ``None`` if it is not. An
    optimizer that divides by the size of gradients does not care."""
    factors = [to_float(value) for value in case.window("clip_factor").values]
    if case.configuration.clip_norm is None or not factors or max(factors) > CLIPS_AWAY:
        return None
    plain = all(optimizer.kind in ("SGD", "ASGD") for optimizer in case.configuration.optimizers)
    still = all(to_float(state.change) <= STILL * to_float(state.magnitude) for state in trained if len(state.shape) > 1)
    return max(factors) if plain and still else None


def _misfits(loss: LossInputs) -> bool:
    """True if the output a loss is given cannot be brought to its target, whatever the parameters."""
    if loss.made_by in ("softmax", "log_softmax") and loss.made_over == 1:
        return True
    if loss.made_by in _TWICE.get(loss.kind, ()):
        return True
    limits = _RANGES.get(loss.made_by)
    if limits is None or loss.target is None or not loss.target.dtype.startswith(("float", "bfloat")):
        return False
    low, high = to_float(loss.target.min), to_float(loss.target.max)
    margin = 0.1 * (min(limits[1], high) - max(limits[0], low) if high > low else 1.0)
    return low < limits[0] - margin or high > limits[1] + abs(margin)


def _is_flat(units: Units) -> bool:
    if to_float(units.gradient) == 0.0 or units.units == 0:
        return False
    if units.kind == "relu":
        return units.dead >= FLAT_SHARE * units.units
    return units.kind in ("sigmoid", "tanh", "softmax", "gelu", "silu", "elu", "softplus") and units.saturated >= FLAT_SHARE


def _ends(barrier: Barrier) -> bool:
    return barrier.blocked >= 1.0


def _largest(barriers: Iterable[Barrier], dead: set[str]) -> Barrier:
    """The barrier behind which most of `dead` lies; of equal ones the first that the backward pass met."""
    return max(barriers, key=lambda barrier: len(dead.intersection(barrier.parameters)))


def is_nothing(gradient: TensorStats | None) -> bool:
    """True for a gradient that is missing or exactly zero."""
    return gradient is None or (gradient.zero == gradient.size and not gradient.nonfinite)


def absmax(stats: TensorStats | None) -> float:
    """Largest finite magnitude; 0 for nothing."""
    if stats is None:
        return 0.0
    numbers: tuple[Number, ...] = (stats.min, stats.max)
    return max((abs(to_float(number)) for number in numbers if not isinstance(number, str)), default=0.0)


def _last_loss(case: Case) -> float | None:
    values = case.window("loss").values
    return to_float(values[-1]) if values else None


def _listed(states: Sequence[ParameterState]) -> str:
    return ", ".join(state.name for state in states[:3]) + (", ..." if len(states) > 3 else "")


def of_barrier(barrier: Barrier) -> Origin:
    """The operator behind which a gradient is zero, as an origin."""
    only = barrier.parameters[0] if len(barrier.parameters) == 1 else None
    phase = "backward" if barrier.blocked else barrier.phase
    return Origin(
        phase=phase, op=barrier.kind, native_op=barrier.native_op, location=barrier.location, module=barrier.module,
        parameter=only, inputs=barrier.inputs, output=barrier.output, scalars=barrier.scalars,
    )


def _by_size(gain: Gain) -> bool:
    """True if the slope is as large as what went in: a unit (metres, pascals), or the square of a large number. A singular
    slope is large where an operand is small."""
    sizes = (*map(amplitude, gain.inputs), *(abs(to_float(one.value)) for one in gain.scalars))
    return max(sizes, default=0.0) >= to_float(gain.factor) / 10.0


def _of_gain(gain: Gain) -> Origin:
    return Origin(
        phase="backward", op=gain.kind, native_op=gain.native_op, location=gain.location, module=gain.module,
        samples=gain.samples, inputs=gain.inputs, scalars=gain.scalars,
    )


def _of_units(units: Units) -> Origin:
    given = (units.input,) if units.input is not None else ()
    return Origin(
        phase="backward", op=units.kind, native_op="", location=units.location, module=units.module, inputs=given,
        output=units.output,
    )


def _of_loss(loss: LossInputs) -> Origin:
    given = (loss.prediction, loss.target) if loss.target is not None else (loss.prediction,)
    return Origin(phase="loss", op=loss.kind, native_op="", location=loss.location, inputs=given)
