"""What a replayed step did, operation by operation, as far as it concerns non-finite values."""

from __future__ import annotations

from typing import Literal

import msgspec

from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.numbers import Number
from stayfinite.records.tensor import TensorStats

Phase = Literal["data", "load", "forward", "loss", "backward", "optimizer"]
LeafKind = Literal["parameter", "buffer", "batch", "gradient", "moment", "scalar", "other"]
SinkKind = Literal["loss", "gradient", "buffer", "parameter", "moment", "exception"]


class Scalar(msgspec.Struct, frozen=True):
    """A plain number handed to an operator: an exponent, an epsilon, a fill value."""

    name: str
    value: Number


class OpCall(msgspec.Struct, frozen=True, tag="op"):
    """One operator call of a replayed step that read or made a non-finite value (or raised).

    **Fields**

    - `index`: position in the step, counting every operator that ran; `kind`: canonical `OpKind`; `native_op`: the
      framework's name, e.g. ``"aten.log.default"``.
    - `inputs`: tensor operands in order; `scalars`: number operands; `output`: the first bad output, or the first one.
    - `sources`: where its non-finite inputs came from: the `index` of the producing call, or ``-1 - k`` for leaf `k`.
    - `sentinel`: the non-finite output only repeats an infinity that stands in the call (a mask's ``-inf``).
    - `absorbed`: non-finite inputs, finite output (a `where`, a `max`, a softmax over a partly masked row).
    - `forward`: for a backward operator, the forward call (index) that created its autograd node; -1 if unknown.
    - `samples`: batch rows that hold the non-finite outputs; empty if every row does or rows have no meaning.
    - `parameter`: dotted name of the parameter it reads or whose gradient it makes, where there is exactly one.
    - `born`: how many non-finite output elements come from finite operands: all of them for a birth, some where an
      element-wise operator overflows beside a mask, 0 where it only passes them on.
    - `gate`: for a backward operator that met an exact zero as incoming gradient, the forward call (index) of the `where`,
      mask or selection that sent it; -1 if there is none.
    """

    index: int
    kind: str
    native_op: str
    phase: Phase
    location: Location = UNKNOWN_LOCATION
    module: str | None = None
    parameter: str | None = None
    inputs: tuple[TensorStats, ...] = ()
    scalars: tuple[Scalar, ...] = ()
    output: TensorStats | None = None
    sources: tuple[int, ...] = ()
    sentinel: bool = False
    absorbed: bool = False
    forward: int = -1
    samples: tuple[int, ...] = ()
    raised: str | None = None
    born: int = 0
    gate: int = -1
    flushed: int = -1
    """Where an operand of a birth is 0 because a half-precision format could not hold it: the `Flush.index` of the call that
    lost it; else -1."""
    wrapped: int = -1
    """Where an operand of a birth was made of whole numbers that left their range: the `Wrap.index` of that call; else -1."""


class Flush(msgspec.Struct, frozen=True):
    """A call whose result is 0 in its half-precision format and is not 0 in float32: it was computed a second time there.

    `index`, `kind`, `native_op`, `phase`, `location`, `module` as in `OpCall` (of the forward call, for one of the backward
    pass); `count` of `size` elements were lost; `largest`: the largest exact magnitude among them.
    """

    index: int
    kind: str
    native_op: str
    phase: Phase
    dtype: str
    count: int
    size: int
    largest: Number
    location: Location = UNKNOWN_LOCATION
    module: str | None = None


class Wrap(msgspec.Struct, frozen=True):
    """A call that gave narrow whole numbers, some of which are others in 64 bits: it was computed a second time there.

    `index`, `kind`, `native_op`, `phase`, `location`, `module` as in `OpCall`; `count` of `size` elements left the range of `dtype`;
    `exact`: what the first of them is, `became`: what it was.
    """

    index: int
    kind: str
    native_op: str
    phase: Phase
    dtype: str
    count: int
    size: int
    exact: Number
    became: Number
    location: Location = UNKNOWN_LOCATION
    module: str | None = None


Half = Literal["forward", "backward"]


class CustomFunction(msgspec.Struct, frozen=True):
    """A differentiable function of the user's own (``torch.autograd.Function``) that turned finite numbers into others.

    - `half`: which of its two parts did; `location`: where it was applied; `written`: where that part is defined.
    - `inputs`, `output`: of that part (the gradients that arrived, and the first non-finite one that left).
    - `reference`: what the derivative of its own forward part is there (``"finite"``, ``"nonfinite"``, ``""`` unknown);
      `how`: how that was found, in words.
    """

    name: str
    half: Half
    location: Location
    written: Location = UNKNOWN_LOCATION
    inputs: tuple[TensorStats, ...] = ()
    output: TensorStats | None = None
    reference: Literal["", "finite", "nonfinite"] = ""
    how: str = ""


class Leaf(msgspec.Struct, frozen=True):
    """A non-finite value that was there before the step computed anything, with the first call that read it."""

    kind: LeafKind
    name: str
    stats: TensorStats
    read_by: int = -1
    samples: tuple[int, ...] = ()


class Sink(msgspec.Struct, frozen=True):
    """A place where a non-finite value does harm. `source` as in `OpCall.sources`; ``None`` if it could not be followed."""

    kind: SinkKind
    name: str
    stats: TensorStats
    source: int | None = None


class Magnitude(msgspec.Struct, frozen=True):
    """Largest finite magnitude and standard deviation of one module's output, in the order the modules ran."""

    module: str
    kind: str
    absmax: Number
    std: Number
    dtype: str


class LossTerm(msgspec.Struct, frozen=True):
    """One addend of what was differentiated, found by walking back from the loss through sums, means and scalings.

    **Fields**

    - `name`: its source text (``"beta * kl"``). `location`: the line that computed it, before it was scaled; `kind`:
      canonical `OpKind` of what ran there, ``"sum"`` for a loss that adds up its elements.
    - `value`: as it enters the loss, summed over `count` addends of the same line (a loop over heads or time steps);
      `weight`: what it was multiplied with on the way, 1 if nothing is known.
    - `gradient`: norm of its own gradient over the parameters, ``"nan"`` if that is not finite or was not taken
      (`measured`); `parameters`: those whose gradient is not finite by it alone, else those of largest gradient; ten at most.
    - `source`: the call that made it, as in `OpCall.sources`, where that call is kept; ``None`` elsewhere.
    - `weighted_at`: the line that multiplied or divided it last; ``None`` if none did.
    - `group`: terms that reach a common parameter have equal numbers; others do not compete.
    """

    name: str
    location: Location
    kind: str
    value: Number
    weight: Number = 1.0
    count: int = 1
    gradient: Number = "nan"
    measured: bool = False
    parameters: tuple[str, ...] = ()
    source: int | None = None
    group: int = 0
    weighted_at: Location | None = None


class Trace(msgspec.Struct, frozen=True, tag="trace"):
    """A replayed step under the microscope. `operations` counts every operator that ran, `calls` keeps those that matter.

    `unseen` says in words what the tracer could not look into (fused kernels, foreign tensor types).
    """

    calls: tuple[OpCall, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    sinks: tuple[Sink, ...] = ()
    profile: tuple[Magnitude, ...] = ()
    gradient_profile: tuple[Magnitude, ...] = ()
    operations: int = 0
    unseen: tuple[str, ...] = ()
    model_inputs: tuple[TensorStats, ...] = ()
    """What the outermost models were given that autograd did not make, in the order of their calls; eight tensors at most."""
    terms: tuple[LossTerm, ...] = ()
    """What the losses of the step are the sum of, where that is more than one thing."""
    flushes: tuple[Flush, ...] = ()
    """Results lost to a half-precision format, in the order they were computed; 64 at most."""
    functions: tuple[CustomFunction, ...] = ()
    """Functions with a derivative of the user's own that made non-finite numbers of finite ones."""
    batch_size: int | None = None
    """Rows of the batch that `samples` count in; ``None`` where it is not known."""
    chosen: tuple[int, ...] = ()
    """The numbers by which the step itself chose these rows from all of the data, one for each; empty if it did not so."""
    wraps: tuple[Wrap, ...] = ()
    """Whole numbers that left their range, in the order they were computed; 64 calls at most."""

    def call(self, index: int) -> OpCall | None:
        """The kept call with that `index`, or ``None``."""
        return next((call for call in self.calls if call.index == index), None)
