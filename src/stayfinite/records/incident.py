"""A failure: what was seen, where it was born, and everything a cause may look at."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from stayfinite.records.diagnosis import Diagnosis
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import Number
from stayfinite.records.scaling import LossScaling
from stayfinite.records.series import Window
from stayfinite.records.sharpness import Sharpness
from stayfinite.records.survey import Birth, Making, Survey
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, Phase, Scalar, Trace


class Symptom(msgspec.Struct, frozen=True, tag="symptom"):
    """A detector's statement.

    `detector` is its id (``"nonfinite-loss"``); `value` what was observed; `limit` what it was held against and
    `limit_source` where that number comes from; `names` the parameters, buffers or terms concerned (at most ten).
    """

    detector: str
    step: int
    series: str
    value: Number
    limit: str = "finite"
    limit_source: str = "a finite state is the definition of a step that can be committed"
    names: tuple[str, ...] = ()
    epoch: int | None = None
    location: Location = UNKNOWN_LOCATION
    """The line of the user's code that was running, where the symptom itself has a place (a rate handed to a step)."""


Absorbed = Literal["value", "gradient"]
"""What a line hides: a non-finite value, whose gradient came back; or only the gradient of a finite one, as an exact 0
that an infinite slope turned into NaN."""


class Origin(msgspec.Struct, frozen=True, tag="origin"):
    """The first operation that turned finite values into non-finite ones on a path that matters.

    `op`, `phase`, `module`, `parameter`, `buffer`, function and source text are its identity: equal identity, same
    failure. Line, samples and values are attributes beside it. `absorbed_at` is the line that hid an infinity which the
    backward pass brought back.
    """

    phase: Phase
    op: str
    native_op: str
    location: Location = UNKNOWN_LOCATION
    module: str | None = None
    parameter: str | None = None
    buffer: str | None = None
    samples: tuple[int, ...] = ()
    dataset_indices: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    inputs: tuple[TensorStats, ...] = ()
    output: TensorStats | None = None
    absorbed_at: Location | None = None
    scalars: tuple[Scalar, ...] = ()
    """Number operands of the operator: an exponent, a divisor, an epsilon."""
    absorbed: Absorbed = "value"
    """What ended at `absorbed_at`."""
    birth: Birth | None = None
    """Who made the value, where it was bad before the step: not part of the identity."""

    @property
    def identity(self) -> str:
        """Twelve hexadecimal digits, equal for equal failures, whatever the step, the line number or the values."""
        parts = (
            self.phase, self.op, self.module or "", self.parameter or "", self.buffer or "",
            self.location.file, self.location.function, self.location.code,
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


class ExceptionInfo(msgspec.Struct, frozen=True):
    """An exception that ended a step: type name, message, and where the user's code was."""

    type: str
    message: str
    location: Location = UNKNOWN_LOCATION


class OptimizerInfo(msgspec.Struct, frozen=True):
    """An optimizer as it was at the step: class name, one entry of `rates` per group, and where it was constructed.
    `scheduled_at`: where the first of its `schedulers` was."""

    kind: str
    rates: tuple[Number, ...] = ()
    epsilon: float | None = None
    betas: tuple[float, ...] = ()
    momentum: float | None = None
    weight_decay: float | None = None
    location: Location = UNKNOWN_LOCATION
    schedulers: tuple[str, ...] = ()
    scheduled_at: Location = UNKNOWN_LOCATION
    base_rates: tuple[Number, ...] = ()
    """One entry per group that a schedule changes: the rate it was given to begin with, which schedules multiply."""
    rated_at: Location = UNKNOWN_LOCATION
    """The line whose formula made a rate that is not finite, negative, or ten times the first one; and how, in words."""
    rated: str = ""
    gradients_alive: bool | None = None
    """True if its latest update was made from gradients that were not cleared since the one before; ``None`` if nobody looked."""
    clear_at: Location = UNKNOWN_LOCATION
    """Where they could have been cleared, in that case: beside the clearing of another optimizer, or at the update."""


class Configuration(msgspec.Struct, frozen=True):
    """How the step was run. `clip_norm` is the limit a clipping call was given, `clipped_norm` the norm before it."""

    optimizers: tuple[OptimizerInfo, ...] = ()
    parameter_dtypes: tuple[str, ...] = ()
    autocast: str | None = None
    loss_scale: float | None = None
    clip_norm: float | None = None
    clipped_norm: Number | None = None
    compiled: bool = False
    device: str = "cpu"
    checkpoint: Location | None = None
    """Where the script loaded a state (`torch.load`, `load_state_dict`), if it did."""
    gradients_alive: bool | None = None
    """True if the first backward of the step added to gradients of an earlier one; ``None`` if nobody looked."""
    loss_scaling: LossScaling | None = None
    """How the loss was scaled, by a gradient scaler or by hand; ``None`` if it was not."""
    compiled_at: Location = UNKNOWN_LOCATION
    """Where the script had something compiled first."""
    loaded_finite: bool | None = None
    """Whether every tensor that was loaded was finite then; ``None`` if nobody looked."""
    built_late_at: Location = UNKNOWN_LOCATION
    """Where a module was built that has parameters no optimizer owns, if that was after an optimizer had been made."""
    clipped_at: Location = UNKNOWN_LOCATION
    """Where the script first clipped its gradients by norm."""


Repeated = Literal["", "finite", "nonfinite"]
"""What a repetition with one thing changed came to; ``""`` if there was none."""


class ReplaySummary(msgspec.Struct, frozen=True):
    """What the control replays said. `same_inputs`: names, state and generators hashed equal; `agreed`: the outcome did too."""

    attempts: int = 0
    same_inputs: bool = True
    agreed: bool = True
    not_tested: str | None = None
    """Why nothing could be replayed, or ``None``."""
    unscaled: Repeated = ""
    """What the step came to when its gradient scaler multiplied with 1."""
    eager: Repeated = ""
    """What a step with compiled parts came to when they ran as they are written."""


LISTED = 10
"""Finite parameters that a case lists: those of largest magnitude."""


class Case(msgspec.Struct, frozen=True, tag="case"):
    """All that a cause may look at. A cause sees this and nothing else."""

    symptom: Symptom
    origin: Origin | None = None
    trace: Trace = Trace()
    windows: tuple[Window, ...] = ()
    batch: tuple[TensorStats, ...] = ()
    batch_size: int | None = None
    parameters: tuple[TensorStats, ...] = ()
    """Parameters at the start of the step: all that are non-finite, and the `LISTED` of largest magnitude."""
    configuration: Configuration = Configuration()
    exception: ExceptionInfo | None = None
    replay: ReplaySummary = ReplaySummary()
    not_located: str = ""
    """Why there is no origin, in words, also where an investigation broke; empty if there is one."""
    path: tuple[int, ...] = ()
    """Indices of the trace's calls from the origin to the harm, in the order they ran."""
    overwritten: tuple[str, ...] = ()
    """Non-finite parameters that were written in place at least twice before the first step: once to initialise them,
    once more to load something over them. Memory that was never initialised was written less often."""
    outlying: tuple[Leaf, ...] = ()
    """State of which, at the start of the step, exactly one element was not finite or lay a million times beyond the rest of its
    tensor (`culprit`, at `absmax_index`; `typical_row`: the next largest magnitude)."""
    survey: Survey | None = None
    """What the step looked like, where a detector of finite symptoms asked for it."""
    sharpness: Sharpness | None = None
    """How long the steps were for the curvature of the loss, before it began to grow; ``None`` if that was not measured."""
    makings: tuple[Making, ...] = ()
    """Lines that make what the failing operation, the loop and the optimizers were given; the nearest first for each."""
    run_step: int = -1
    """The step counted over the whole run, from 0: a script may train several times, and each optimizer counts its own. -1: the
    step of the symptom is all that is known."""

    @property
    def step_of_run(self) -> int:
        """The step as a run from the start counts it."""
        return self.run_step if self.run_step >= 0 else max(self.symptom.step, 0)

    def window(self, series: str) -> Window:
        """The readings of `series`, oldest first; an empty window if it was never read."""
        return next((w for w in self.windows if w.series == series), Window(series=series, steps=(), values=()))


Outcome = Literal["", "stopped", "skipped", "cured", "recovered", "raised", "continued"]
"""What became of the run at an incident; ``""`` is read from the other fields. ``skipped``: the step was left out; ``cured``:
it was taken after all; ``recovered``: the state was mended or rewound."""


class Incident(msgspec.Struct, frozen=True, tag="incident"):
    """A case with what was concluded. `held`: checked, not assumed; `hold_note` says what an undo copy cost or what
    could not be held."""

    id: str
    case: Case
    diagnosis: Diagnosis = Diagnosis()
    stopped: bool = True
    harmless: bool = False
    held: bool = False
    hold_note: str = ""
    reproduced: bool = False
    seconds: float = 0.0
    """From the bad number to this record."""
    outcome: Outcome = ""
