"""One change to a training step: the closed vocabulary in which causes and remedies ask, and frameworks perform.

An intervention says what is changed and never how a framework does it. It is performed above automatic differentiation, so
that the backward pass is the one of the changed step. Each has `told`: the change in a few words, as it stands in a table.
"""

from __future__ import annotations

from typing import Literal, Union

import msgspec

from stayfinite.records.numbers import Number, show


class Place(msgspec.Struct, frozen=True):
    """The calls of one kind of operator that are made from one line of the user's code.

    `kind`: canonical `OpKind`; ``""`` means every operator of that line. `file`, `line`: as in `Location`; a `file` of ``""``
    means every line. `module`: where a line calls several modules (a loop over layers), the dotted name of the one that is meant.
    """

    kind: str
    file: str
    line: int
    module: str | None = None

    @property
    def told(self) -> str:
        """For example ``"log at train.py:33"``."""
        return f"{self.kind or 'everything'} at {self.file}:{self.line}" if self.file else f"every {self.kind}"


Format = Literal["float32", "float64", "int64"]


class Precision(msgspec.Struct, frozen=True, tag="precision"):
    """Operators compute in another floating-point format, their results go back to their own; `place` ``None``: all of them,
    autocast switched off. ``"int64"``: narrow whole numbers are computed with as wide ones, and stay so."""

    format: Format
    place: Place | None = None

    @property
    def told(self) -> str:
        """The change in words."""
        return f"{self.place.told if self.place else 'the whole step'} in {self.format}"


class Within(msgspec.Struct, frozen=True, tag="within"):
    """One operand is kept inside a domain: elements below `low`, above `high` or with a magnitude below `away` are replaced
    by the nearest allowed number. A diagnosis and no cure: what is replaced gets no gradient. `operand`: counted as the
    operator's kind counts its inputs; -1 means all of them. `passes`: the gradient goes on to what was replaced, with the slope
    of the allowed number, so that it is driven back; numbers that are not floating point are then left as they are. `others`: as
    many elements that lie inside the domain are moved by a thousandth instead (whole numbers by one, inside it), which is its
    placebo."""

    place: Place
    operand: int = 0
    low: Number = "-inf"
    high: Number = "+inf"
    away: float = 0.0
    others: bool = False
    passes: bool = False

    @property
    def told(self) -> str:
        """The change in words."""
        what = f"operand {self.operand}" if self.operand >= 0 else "the operands"
        if self.others:
            return f"as many other elements of {what} of {self.place.told} moved by a thousandth"
        limits = [f"|x| >= {show(self.away)}"] if self.away else []
        limits += [f"x >= {show(self.low)}"] if self.low != "-inf" else []
        limits += [f"x <= {show(self.high)}"] if self.high != "+inf" else []
        through = ", the gradient going on to what is replaced" if self.passes else ""
        return f"{what} of {self.place.told} kept at {', '.join(limits) or 'finite values'}{through}"


Form = Literal[
    "log-softmax", "log-sigmoid", "logits", "log-sum-exp", "shifted-softmax", "epsilon-inside", "double-where", "safe-softmax",
    "safe-divide", "hypot", "unbiased-off", "mean-over-some", "jitter", "zero-infinity", "zeros", "sigmoid",
]
"""Numerically stable forms of an operation: the logarithm of a softmax or sigmoid from its logits; a loss on logits; a
log-sum-exp; a softmax that subtracts its largest argument; an epsilon inside the root or norm; the argument chosen before the
operation where a `where` discards the result; a softmax that gives zeros for a row without an allowed entry; a divisor chosen
before dividing; a hypot; a variance of one element as 0; a mean, maximum or pooling over nothing as 0; a matrix with a small
multiple of the identity added before it is decomposed, no two of its entries alike; an alignment that does not exist as a loss
of 0; memory that begins as zeros, where it was reserved and not written; a
softmax over a single number as a sigmoid."""


class Stable(msgspec.Struct, frozen=True, tag="stable"):
    """The operation at `place` is computed by a stable form of the same function.

    `axis`: over which a softmax written by hand sums; ``None``: the last one. `whole`: it sums over several, one after the other."""

    place: Place
    form: Form
    axis: int | None = None
    whole: bool = False

    @property
    def told(self) -> str:
        """The change in words."""
        return f"{self.place.told} as {self.form.replace('-', ' ')}"


class Bypassed(msgspec.Struct, frozen=True, tag="bypassed"):
    """The operation at `place` is left out: what it is given takes the place of what it gives."""

    place: Place

    @property
    def told(self) -> str:
        """The change in words."""
        return f"{self.place.told} left out"


class LossScale(msgspec.Struct, frozen=True, tag="loss-scale"):
    """Gradient scalers multiply losses with `scale`; they keep their own."""

    scale: float = 1.0

    @property
    def told(self) -> str:
        """The change in words."""
        return f"a loss scale of {show(self.scale)}"


class Rows(msgspec.Struct, frozen=True, tag="rows"):
    """Samples of the batch are replaced by others of the same batch, in all of its tensors alike; the size stays, so layers
    that couple a batch see as many. `size`: rows of the batch."""

    rows: tuple[int, ...]
    size: int

    @property
    def told(self) -> str:
        """The change in words."""
        some = ", ".join(map(str, self.rows[:4])) + (", ..." if len(self.rows) > 4 else "")
        return f"sample{'s' * (len(self.rows) > 1)} {some} replaced by others of the batch"


class Values(msgspec.Struct, frozen=True, tag="values"):
    """Values of one tensor of the batch change: `filled`: those that are not finite, or have a magnitude of `above` and more,
    become the mean of the others of their column; `standardised`: each column gets mean 0 and deviation 1; `clipped`: to four
    deviations round the median; `levelled`: each of `columns`, counted along the last dimension, becomes its own mean.

    `name`: of the tensor in the user's code; ``""`` means every floating-point tensor that models were given. `also`: names of
    further tensors that are changed alike. `others`: its placebo: as many other elements are filled; columns are moved on by
    one row instead of scaled."""

    name: str
    how: Literal["filled", "standardised", "clipped", "levelled"]
    above: float = 0.0
    others: bool = False
    also: tuple[str, ...] = ()
    columns: tuple[int, ...] = ()

    @property
    def told(self) -> str:
        """The change in words."""
        names = " and ".join(f"`{name}`" for name in (self.name, *self.also)) if self.name else "the inputs"
        if self.how == "levelled":
            some = ", ".join(map(str, self.columns[:4])) + (", ..." if len(self.columns) > 4 else "")
            return f"column{'s' * (len(self.columns) > 1)} {some} of {names} levelled"
        if self.others:
            return f"as many other elements of {names} filled" if self.how == "filled" else f"the rows of {names} moved on by one"
        which = f"magnitudes of {show(self.above)} and more in " if self.above else "gaps in " if self.how == "filled" else ""
        return f"{which}{names} {self.how}"


class Term(msgspec.Struct, frozen=True, tag="term"):
    """One addend is left out of the loss: the result of `place` counts 0 and gets no gradient; or, with a `weight`, it counts that many
    times as much. `expression`: its source text, where a line computes several."""

    place: Place
    name: str
    expression: str = ""
    weight: float = 0.0

    @property
    def told(self) -> str:
        """The change in words."""
        return f"`{self.name}` in the loss times {show(self.weight)}" if self.weight else f"the loss without `{self.name}`"


class Scaled(msgspec.Struct, frozen=True, tag="scaled"):
    """One operand of an operator is brought to mean 0 and deviation 1, over all of its elements, and its gradient along with it.
    `others`: its placebo: the elements change places. `each`: every unit (last dimension, that of channels behind four) for itself,
    over the batch."""

    place: Place
    operand: int = 0
    others: bool = False
    each: bool = False

    @property
    def told(self) -> str:
        """The change in words."""
        return f"operand {self.operand} of {self.place.told} {self._how}"

    @property
    def _how(self) -> str:
        return "in another order" if self.others else "standardised over the batch" if self.each else "standardised"


class Damped(msgspec.Struct, frozen=True, tag="damped"):
    """The gradient that comes back through the calls at `place` is scaled down to a largest magnitude of `limit`, call by call."""

    place: Place
    limit: float

    @property
    def told(self) -> str:
        """The change in words."""
        return f"gradients through {self.place.told} kept within {show(self.limit)}"


class Joined(msgspec.Struct, frozen=True, tag="joined"):
    """What a line takes out of the graph of gradients (``detach``, ``.data``) stays in it."""

    place: Place

    @property
    def told(self) -> str:
        """The change in words."""
        return f"what {self.place.file}:{self.place.line} detaches kept in the graph"


class Update(msgspec.Struct, frozen=True, tag="update"):
    """Optimizers step otherwise: their rate times `rate`; gradients clipped (`clip`: to a total norm, to a magnitude, or each
    tensor to a share of its parameter's norm) at `limit`; `options` of their groups (``eps``, ``betas``, ``momentum``) replaced;
    `skipped`: not at all. `optimizer`: the number in the configuration; -1 means all."""

    rate: float = 1.0
    clip: Literal["", "norm", "value", "adaptive"] = ""
    limit: float = 1.0
    options: tuple[tuple[str, float | tuple[float, ...]], ...] = ()
    skipped: bool = False
    optimizer: int = -1

    @property
    def told(self) -> str:
        """The change in words."""
        parts = [f"learning rate times {show(self.rate)}"] if self.rate != 1.0 else []
        parts += [f"gradients clipped by {self.clip} at {show(self.limit)}"] if self.clip else []
        parts += [f"{name} = {value}" for name, value in self.options]
        parts += ["without the update"] if self.skipped else []
        return ", ".join(parts) or "the update as it is"


class State(msgspec.Struct, frozen=True, tag="state"):
    """Parameters, buffers, moments or gradients change before the step: drawn again as their layer's class draws them
    (`redrawn`), drawn with a deviation of sqrt(2/fan in) (`scaled-draw`), their elements in another order (`shuffled`), set to 0
    (`zeroed`), given no gradient (`frozen`) or one (`thawed`), or to an optimizer (`adopted`); gradients as the backward pass
    delivered them (`kept`), whatever the step does to them before the update; only their non-finite elements set to what a fresh model or
    optimizer has there (`mended`), and with them those of a magnitude of `above` and more. `names`: dotted, as in reports, those
    of moments ``"exp_avg of net.weight"``; empty means all of `what`. `others`: its placebo: as many elements of others are set
    to what is fresh there."""

    what: Literal["parameters", "buffers", "moments", "gradients"]
    how: Literal["redrawn", "scaled-draw", "shuffled", "zeroed", "frozen", "thawed", "adopted", "kept", "mended"]
    names: tuple[str, ...] = ()
    others: bool = False
    above: float = 0.0

    @property
    def told(self) -> str:
        """The change in words."""
        some = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        if self.others:
            return f"as many elements of other {self.what} set anew"
        return f"{some or f'all {self.what}'} {self.how.replace('-', ' ')}"


class Backend(msgspec.Struct, frozen=True, tag="backend"):
    """The same mathematics by other code: plain attention, uncompiled functions, deterministic kernels, the CPU, the derivative
    of a function's forward part instead of one that is written by hand."""

    name: Literal["plain-attention", "eager", "deterministic", "cpu", "own-derivative"]

    @property
    def told(self) -> str:
        """The change in words."""
        if self.name == "own-derivative":
            return "derivatives taken from the forward parts"
        return f"{self.name.replace('-', ' ')} code"


Intervention = Union[
    Precision, Within, Stable, Bypassed, LossScale, Rows, Values, Term, Scaled, Damped, Joined, Update, State, Backend
]


class Effect(msgspec.Struct, frozen=True):
    """What performing an intervention came to, beside the outcome of the step.

    - `applied`: how often it changed something; 0 means the step has no such place, and nothing follows from its outcome.
    - `refused`: why it could not be performed, in words; empty if it was.
    - `changed`: elements whose value it changed although the unchanged result was finite there; `deviation`: the largest such
      change, relative to the larger of the two magnitudes.
    - `gradient`: what arrives in the backward pass at the elements that were not finite before: ``"finite"``, ``"zero"`` (all
      of it: the failure is hidden, nothing is learned from it), ``"nonfinite"``, ``""`` where nobody could look.
    - `arrived`: what arrives there at the result of the changed operator, in the same words. ``"zero"``: nothing uses these
      elements, so that no gradient is lost if none goes through them.
    """

    applied: int = 0
    refused: str = ""
    changed: int = 0
    deviation: float = 0.0
    gradient: Literal["", "finite", "zero", "nonfinite"] = ""
    arrived: Literal["", "finite", "zero", "nonfinite"] = ""


class Prediction(msgspec.Struct, frozen=True):
    """What a cause expects: with `change` alone the step does not fail any more, and with `placebo` it still does.

    - `placebo`: the same kind of change where the cause says it does not matter; ``None``: the engine chooses one
      (`engine.placebos`).
    - `breadth`: 0 for a change that only this cause explains (one argument of one operator), 1 where other causes would be
      cured by it too (one operator in another format), 2 for a change to the whole step. Specific beats broad.
    - `steps`: 1 if the held step can tell; 0 if it takes the run from its start, because the failure grew over many steps.
    - `used`: whether the loss depends on the elements that are changed (`Effect.arrived`); ``None``: either.
    - `reveals`: with `change` the step fails openly, with a number that is not finite, instead of in silence.
    """

    change: Intervention
    placebo: Intervention | None = None
    breadth: Literal[0, 1, 2] = 0
    steps: int = 1
    used: bool | None = None
    reveals: bool = False
