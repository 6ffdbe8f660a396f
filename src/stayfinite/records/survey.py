"""What a step looked like that is finite and yet wrong: where gradients end, what units do, what a loss was given.

A trace follows non-finite values; a survey looks at the finite ones. It is taken of one repeated step, when a detector
suspects that nothing is being learned or that something is about to explode.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import Number
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Phase, Scalar


class Units(msgspec.Struct, frozen=True):
    """What the units behind one activation did over the batch.

    **Fields**

    - `kind`: canonical `OpKind` of the activation (``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"softmax"``, ...).
    - `units`: how many (extent of the channel or last dimension); `dead`: those that gave exactly 0 for every sample;
      `constant`: those that gave one value for every sample (dead ones included).
    - `saturated`: share of elements on which the activation is flat: its slope is below 1e-3 (for a softmax: rows whose
      largest probability is above 0.999).
    - `input`, `output`: statistics of what went in and came out.
    - `gradient`: largest magnitude of the gradient that arrived at the output, ``"nan"`` if none did; `passed`: that of the
      gradient that left through the input.
    """

    kind: str
    location: Location
    module: str | None = None
    units: int = 0
    dead: int = 0
    constant: int = 0
    saturated: float = 0.0
    input: TensorStats | None = None
    output: TensorStats | None = None
    gradient: Number = "nan"
    passed: Number = "nan"


class Barrier(msgspec.Struct, frozen=True):
    """A forward operator whose backward made exact zeros of a gradient that was none: where a gradient ends.

    - `kind`, `native_op`, `location`, `module`, `phase`, `inputs`, `output`, `scalars`: the forward operator's, as in `OpCall`.
    - `blocked`: share of the elements with a non-zero incoming gradient whose outgoing gradient is exactly 0 (1.0: all).
    - `replaced`: how many input elements were non-finite and came out finite (`nan_to_num`, a clamp of an infinity). Where no
      gradient asked for the input (data), the operator stands here with `blocked` 0.
    - `clamped`: how many finite input elements came out changed, for operators that limit a range (clamp, min, max).
    - `detached`: the value was taken out of the graph (`detach`, an integer cast, a comparison, `no_grad`, `item`).
    - `parameters`: dotted names of the parameters whose gradient is exactly 0 (or missing) because of it.
    - `wished`: the gradient, summed over the samples, asks no unit to leave the bound it lies at (0 of a rectifier, a limit
      of a clamp): the output is where the loss wants it.
    """

    kind: str
    native_op: str
    location: Location
    module: str | None = None
    phase: Phase = "forward"
    inputs: tuple[TensorStats, ...] = ()
    output: TensorStats | None = None
    scalars: tuple[Scalar, ...] = ()
    blocked: float = 0.0
    replaced: int = 0
    clamped: int = 0
    detached: bool = False
    parameters: tuple[str, ...] = ()
    wished: bool = False


class Gain(msgspec.Struct, frozen=True):
    """How much one forward operator's backward enlarged a gradient: `factor` = largest magnitude out / in."""

    kind: str
    native_op: str
    location: Location
    factor: Number
    incoming: Number
    outgoing: Number
    module: str | None = None
    inputs: tuple[TensorStats, ...] = ()
    scalars: tuple[Scalar, ...] = ()
    samples: tuple[int, ...] = ()


class ParameterState(msgspec.Struct, frozen=True):
    """One parameter over the surveyed step.

    - `gradient`: statistics of its gradient before the update; ``None`` if it got none.
    - `requires_grad`, `owned`: whether it asks for a gradient and whether an optimizer has it.
    - `change`: largest magnitude of what the update changed; 0 where it stayed bit-equal.
    - `magnitude`: its own largest magnitude.
    - `arrived`: largest magnitude of the gradient that the backward pass delivered, whatever became of it before the update;
      ``"nan"`` if none was delivered.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    gradient: TensorStats | None = None
    requires_grad: bool = True
    owned: bool = True
    change: Number = 0.0
    magnitude: Number = 0.0
    arrived: Number = "nan"


class LossInputs(msgspec.Struct, frozen=True):
    """What a loss was computed from.

    - `kind`: canonical `OpKind` of the loss (``"mse"``, ``"cross_entropy"``, ``"bce"``, ``"bce_with_logits"``, ``"nll_loss"``, ...).
    - `prediction`, `target`: statistics; `target` is ``None`` where the operator has none.
    - `made_by`: kind of the last operator that is not a view or a copy and made the prediction (``"sigmoid"``, ``"softmax"``,
      ``"relu"``, ``"linear"``, ...); `made_at`: its line; `made_over`: extent of the dimension it normalises over.
    """

    kind: str
    location: Location
    prediction: TensorStats
    target: TensorStats | None = None
    made_by: str = ""
    made_at: Location = UNKNOWN_LOCATION
    made_over: int = 0


class Survey(msgspec.Struct, frozen=True):
    """See the module. `barriers` and `gains` are in the order the backward pass met them; gains of less than 10 are left out.

    `stepped`: whether the update was taken at all (a scaler may skip, a script may forget). `unseen`: what could not be
    looked into. `cleared_at`: the line that cleared gradients between a backward pass and the update, if one did.
    """

    units: tuple[Units, ...] = ()
    barriers: tuple[Barrier, ...] = ()
    gains: tuple[Gain, ...] = ()
    parameters: tuple[ParameterState, ...] = ()
    losses: tuple[LossInputs, ...] = ()
    stepped: bool = True
    unseen: tuple[str, ...] = ()
    cleared_at: Location = UNKNOWN_LOCATION


SearchedIn = Literal["data set", "setup", "between steps", "evaluation", "step", "source"]


Maker = Literal["", "checkpoint", "constructor", "schedule", "write"]
"""A state that was loaded; a constructor that left memory as it was; a formula for a rate; the script's own code that wrote
state outside of any step."""


class Birth(msgspec.Struct, frozen=True):
    """Who made a value that was bad before the failing step computed anything.

    - `location`: the line of the user's code where it became bad: of a transform, a loader, a constructor, a checkpoint's
      load, a write to a buffer or parameter, the formula of a schedule.
    - `how`: in words, as it stands in a report ("`(x - lo) / (hi - lo)` gave NaN for item 431").
    - `searched_in`: how it was found. `step`: the earlier update it happened after; ``None`` for before the first.
    - `op`: canonical `OpKind` where an operator is known; `inputs`: what went into it.
    - `operand_by`: kind of what made the operand that did it (``"std"`` for a divisor that is a standard deviation; ``"ptp"`` for
      a largest minus a smallest value); `operand_at`: its line.
    - `wrapped`: an integer operation on the way left the range of its type, in words; empty if none did. `wrapped_at`: its line.
    """

    location: Location
    how: str
    searched_in: SearchedIn
    step: int | None = None
    op: str = ""
    inputs: tuple[TensorStats, ...] = ()
    by: Maker = ""
    """What it was that made it, where that is known."""
    operand_by: str = ""
    operand_at: Location = UNKNOWN_LOCATION
    wrapped: str = ""
    wrapped_at: Location = UNKNOWN_LOCATION


Role = Literal["constant", "default", "cast", "reserve", "draw", "loader", "sum", "divide", "layer", "filter", "table", "made",
               "rebind", "write", "call"]
"""What a line does: a number in the source; what a parameter, a field or an option is unless it is told; a conversion to a
half-precision format; memory nobody wrote; numbers drawn or filled in; batches; an addition over many; a division; a layer; a
test that lets items pass; the whole of what batches are cut from; any other computation; a name that is given something else
later; a number written into a part of something; a function of the user's that is given something and returns what it made of
it."""
Subject = Literal["operand", "batch", "rate", "weight", "loop", "saved", "parameters", "state", "start"]
"""What a slice began with: an operand of the failing operation, a tensor of the step's batch, the rate of an optimizer, the
weights of a loss, the loop that takes the steps, a state that was saved, the parameters an optimizer was
given, what the script itself wrote into an optimizer's state, the numbers a module begins with."""


class Making(msgspec.Struct, frozen=True):
    """A line that takes part in making something, found in the text of the source: nothing was seen to run.

    `of`, `name`: what (source text as `ast` spells it; of the rate of an optimizer, `optimizer_name`); `by`: what the line does
    to it; `far`: how many assignments, arguments and returns lie between, 0 for the line where it is used.
    """

    of: Subject
    name: str
    by: Role
    location: Location
    far: int = 0


def optimizer_name(number: int) -> str:
    """The `Making.name` of the optimizer that stands at `number` in the configuration."""
    return f"optimizer[{number}]"
