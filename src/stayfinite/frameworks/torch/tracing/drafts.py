"""Calls while they are being looked at, and what is kept of them."""

from __future__ import annotations

import torch

from stayfinite.frameworks.torch.stats import aligned_index, describe
from stayfinite.frameworks.torch.tracing.backward import Forward
from stayfinite.frameworks.torch.tracing.flow import Record
from stayfinite.frameworks.torch.tracing.frames import Frames, Spot
from stayfinite.frameworks.torch.tracing.phase import Phases, RawPhase
from stayfinite.frameworks.torch.tracing.recipes import Operand, Recipe, scalars
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import OpCall


class Input:
    """A floating-point operand of a running call. `part`: its dense tensor; `bad`: non-finite when the call began;
    `sources`: who made it so; `before`: a copy, if the call overwrites it."""

    __slots__ = ("bad", "before", "operand", "part", "record", "sources", "written")

    def __init__(self, operand: Operand, part: torch.Tensor, record: Record | None, written: bool) -> None:
        self.operand = operand
        self.part = part
        self.record = record
        self.written = written
        self.bad = False
        self.sources: set[int] = set()
        self.before: torch.Tensor | None = None

    @property
    def values(self) -> torch.Tensor | None:
        """The values the call read; ``None`` if they are overwritten and no copy was taken."""
        return self.part if not self.written else self.before


class Call:
    """A call between its begin and its end. `index`: of its first element; `joined`: in backward, the forward call of
    the node; `rows`: the batch runs through an operand; `ignored`: the label a loss was told to ignore; `dimension`:
    the one an index counts in."""

    __slots__ = (
        "dimension",
        "func",
        "ignored",
        "index",
        "inputs",
        "joined",
        "module",
        "numbers",
        "operands",
        "parameter",
        "phase",
        "recipe",
        "remember",
        "rows",
        "spot",
    )

    def __init__(self, func: torch._ops.OpOverload, recipe: Recipe, index: int, spot: Spot) -> None:
        self.func = func
        self.recipe = recipe
        self.index = index
        self.spot = spot
        self.joined: Forward | None = None
        self.module: str | None = None
        self.parameter: str | None = None
        self.phase: RawPhase = "open"
        self.operands: list[Operand] = []
        self.inputs: list[Input] = []
        self.numbers: list[tuple[str, float]] = []
        self.rows = False
        self.remember: Forward | None = None
        self.ignored = -100
        self.dimension: int | None = None


class Draft:
    """What is kept of a call until the step is over; the fields of `OpCall`, with a `spot` for a location. `passes`: it
    only passes a NaN on; `first`: extent of the output's first dimension and the places along it that are non-finite,
    noted while the batch size is not known yet."""

    __slots__ = (
        "absorbed",
        "born",
        "first",
        "flushed",
        "forward",
        "gate",
        "index",
        "inputs",
        "kind",
        "module",
        "native",
        "numbers",
        "output",
        "parameter",
        "passes",
        "phase",
        "raised",
        "samples",
        "sentinel",
        "sources",
        "spot",
        "wrapped",
    )

    def __init__(self, index: int, native: str, kind: str, phase: RawPhase, spot: Spot | None) -> None:
        self.index = index
        self.native = native
        self.kind = kind
        self.phase = phase
        self.spot = spot
        self.module: str | None = None
        self.parameter: str | None = None
        self.inputs: tuple[TensorStats, ...] = ()
        self.numbers: list[tuple[str, float]] = []
        self.output: TensorStats | None = None
        self.sources: set[int] = set()
        self.sentinel = False
        self.absorbed = False
        self.forward = -1
        self.gate = -1
        self.flushed = -1
        self.wrapped = -1
        self.born = 0
        self.passes = False
        self.first: tuple[int, tuple[int, ...]] | None = None
        self.samples: tuple[int, ...] = ()
        self.raised: str | None = None

    @classmethod
    def of_call(cls, call: Call, index: int, kind: str) -> Draft:
        """A draft of `call`; `index` differs from the call's for later elements of an operator on lists."""
        spot = call.spot
        if call.joined is not None and spot.engine:
            spot = call.joined.spot
        draft = cls(index, call.recipe.native, kind, call.phase, spot)
        draft.module, draft.parameter, draft.numbers = call.module, call.parameter, call.numbers
        if call.joined is not None and call.spot.engine:
            draft.forward = call.joined.index
        return draft

    @classmethod
    def of_forward(cls, forward: Forward, index: tuple[int, ...], shape: torch.Size | None) -> Draft:
        """A draft of a forward call that turned out to matter in the backward pass. `index`, `shape`: the element whose
        gradient is non-finite, and the shape it counts in."""
        draft = cls(forward.index, forward.recipe.native, forward.kind, forward.phase, forward.spot)
        draft.module, draft.parameter, draft.numbers = forward.module, forward.parameter, forward.numbers
        draft.look_at(forward, index, shape)
        return draft

    def look_at(self, forward: Forward, index: tuple[int, ...], shape: torch.Size | None) -> None:
        """Describe the forward operands that were kept, quoting the element whose gradient is non-finite."""
        found = []
        for kept in forward.kept:
            if kept.unchanged:
                at = aligned_index(index, kept.tensor.shape, shape) if shape is not None else None
                found.append(describe(kept.tensor, kept.name, at))
        if found:
            self.inputs = tuple(found)

    def rows(self, batch_size: int | None) -> tuple[int, ...]:
        """The batch rows, also where the batch size became known late."""
        if self.samples or self.first is None or batch_size is None or self.first[0] != batch_size:
            return self.samples
        return self.first[1] if len(self.first[1]) < batch_size else ()

    def record(self, frames: Frames, phases: Phases, batch_size: int | None) -> OpCall:
        """The finished record."""
        return OpCall(
            index=self.index,
            kind=self.kind,
            native_op=self.native,
            phase=phases.settle(self.phase, self.index, self.spot),
            location=frames.location(self.spot),
            module=self.module,
            parameter=self.parameter,
            inputs=self.inputs,
            scalars=scalars(self.numbers),
            output=self.output,
            sources=tuple(sorted(self.sources)),
            sentinel=self.sentinel,
            absorbed=self.absorbed,
            forward=self.forward,
            samples=self.rows(batch_size),
            raised=self.raised,
            born=self.born,
            gate=self.gate,
            flushed=self.flushed,
            wrapped=self.wrapped,
        )
