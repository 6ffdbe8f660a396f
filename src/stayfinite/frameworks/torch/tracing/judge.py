"""Verdicts on single calls: did a non-finite value begin here, pass through, get absorbed, or was it put here on
purpose.

A birth has finite operands and a non-finite output. An element-wise call whose operands are non-finite elsewhere may
give birth too: that is counted element by element. An infinity that stands in the call itself (a mask's fill value) is
a *sentinel*: intended, until what follows proves otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch

from stayfinite.frameworks.torch import ops
from stayfinite.frameworks.torch.stats import (
    aligned_index,
    bad_mask,
    dense,
    describe,
    first_true,
    has_nan,
    is_bad,
    is_number,
)
from stayfinite.frameworks.torch.tracing.backward import Forward
from stayfinite.frameworks.torch.tracing.belonging import Belonging
from stayfinite.frameworks.torch.tracing.crossings import Crossings
from stayfinite.frameworks.torch.tracing.drafts import Call, Draft, Input
from stayfinite.frameworks.torch.tracing.flow import Flow, covers
from stayfinite.frameworks.torch.tracing.flushes import Flushes
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.frameworks.torch.tracing.leaves import Surroundings
from stayfinite.frameworks.torch.tracing.makers import Makers
from stayfinite.frameworks.torch.tracing.operands import names_of
from stayfinite.frameworks.torch.tracing.recipes import Operand, outputs_of
from stayfinite.frameworks.torch.tracing.rows import forbidden, rows_of_output
from stayfinite.frameworks.torch.tracing.wraps import Wraps
from stayfinite.records.tensor import TensorStats

_BUDGET = 20_000_000
"""Elements that may be counted for calls that only pass a NaN on; births and absorptions are always counted. Counting
takes some ten passes over a tensor at about 0.6 GB/s: 20 million elements are about a second."""

_FIRST = 1 << 16
"""Largest extent that is taken for a batch."""

Frame = Callable[[], Sequence[FrameType]]


class Judge:
    """Keeps what matters of each call.

    **Fields**: `flow`: who made which value; `around`: everything with a name; `drafts`: the calls kept, by index;
    `read_by`: the first call that read each leaf; `raised_by`: calls that raised, by the identity of the exception;
    `belonging`: which rows of the batch elements belong to; `crossings`: numbers that pass between Python and tensors;
    `makers`: what made the operands; `last`: the call judged last.
    """

    def __init__(self, flow: Flow, around: Surroundings, frames: Frames) -> None:
        self.flow, self.around, self.frames = flow, around, frames
        self.belonging = Belonging(flow, around)
        self.drafts: dict[int, Draft] = {}
        self.read_by: dict[int, int] = {}
        self.raised_by: dict[int, tuple[BaseException, int]] = {}
        self.last: Call | None = None
        self.crossings = Crossings(self)
        self.makers = Makers(flow, frames)
        self.flushes = Flushes(flow)
        self.wraps = Wraps(flow)
        self._empty: dict[int, Call] = {}
        self._budget = _BUDGET

    def sources(self, part: torch.Tensor, name: str, call: Call) -> set[int]:
        """Who made the non-finite elements of a dense `part` that `call` reads as its argument `name`."""
        found = self.flow.sources(part)
        if found:
            return found
        text = name
        if self.around.kind_of(part) is None:
            operands = [(o.position, o.name, o.tensor) for o in call.operands]
            names = names_of(operands, call.recipe.base, self.frames.location(call.spot).expression, ())
            text = next((spelled for o, spelled in zip(call.operands, names, strict=True) if o.name == name), name)
        leaf = -1 - self.around.identify(part, text)
        record = self.flow.record(part)
        if covers(part) and record.owners is None:
            record.source = leaf
        return {leaf}

    def judge(self, call: Call, result: Any, frames: Frame) -> None:
        """Look at what `call` gave out."""
        recipe = call.recipe
        self.last = call
        if recipe.base == "lift_fresh":
            self.crossings.constant(call, result)
        elif recipe.base == "local_scalar_dense":
            self.crossings.item(call, result)
        elif recipe.uninitialised:
            self._unwritten(call, result)
        elif recipe.control:
            self.crossings.ask(call)
        else:
            self._weigh(call, result, frames)
            if call.phase not in ("backward", "optimizer"):
                self.makers.note(call, result)

    def _weigh(self, call: Call, result: Any, frames: Frame) -> None:
        outputs = self._outputs(call, result)
        if not call.recipe.listed:
            self._unit(call, call.index, call.operands, call.inputs, [part for _, part in outputs], frames)
            return
        repeated = {operand.name for operand in call.operands if operand.place}
        for place in range(max((operand.place for operand in call.operands), default=0) + 1):
            operands = [o for o in call.operands if o.place == place or o.name not in repeated]
            inputs = [one for one in call.inputs if one.operand.place == place or one.operand.name not in repeated]
            parts = [part for at, part in outputs if at == place]
            self._unit(call, call.index + place, operands, inputs, parts, frames)

    def _outputs(self, call: Call, result: Any) -> list[tuple[int, torch.Tensor]]:
        """The dense floating-point outputs with their places: what was returned or written, aliases of operands
        aside."""
        recipe = call.recipe
        found: list[tuple[int, torch.Tensor]] = []
        seen: set[int] = set()
        read: set[int] = set()
        for operand in call.operands:
            if operand.name in recipe.written:
                part = dense(operand.tensor) if is_number(operand.tensor) else None
                if part is not None:
                    seen.add(self.flow.key(part))
                    found.append((operand.place, part))
        read = {self.flow.key(one.part) for one in call.inputs} - seen
        for place, tensor in enumerate(outputs_of(result)):
            if not is_number(tensor):
                part = dense(tensor) if call.rows else None
                if part is not None:
                    self.flow.record(part).rows = True
                continue
            part = dense(tensor)
            if part is not None and self.flow.key(part) not in read | seen:
                found.append((place if recipe.listed else 0, part))
        return found

    def _unit(
        self,
        call: Call,
        index: int,
        operands: Sequence[Operand],
        inputs: Sequence[Input],
        outputs: Sequence[torch.Tensor],
        frames: Frame,
    ) -> None:
        """One call, or one element of a call on lists."""
        bad_inputs = [one for one in inputs if one.bad]
        bad_outputs = [part for part in outputs if is_bad(part)]
        gate = self._gate(call, inputs) if call.joined is not None else None
        for part in outputs:
            record = self.flow.write(part, index if any(part is other for other in bad_outputs) else None)
            record.rows = self._carries_rows(call, part)
            record.gate = gate
            if record.rows and call.remember is not None:
                call.remember.shapes.add(part.shape)
        if call.remember is not None:
            call.remember.shapes.update(one.part.shape for one in inputs if one.record is not None and one.record.rows)
        if not bad_outputs and not (bad_inputs and outputs):
            return
        shown = bad_outputs[0] if bad_outputs else outputs[0]
        kind = call.recipe.call_kind([one.part for one in inputs], shown)
        draft = self.drafts[index] = Draft.of_call(call, index, kind)
        if call.phase == "optimizer":
            draft.parameter = next(
                filter(None, (self.around.parameter_name(one.part) for one in inputs)), call.parameter
            )
        for one in bad_inputs:
            draft.sources |= one.sources
        if not bad_outputs:
            draft.absorbed = True
            self._describe(draft, call, operands, inputs, None, shown, frames)
            self.link(draft)
            return
        mask = bad_mask(shown)
        fresh = self._fresh(call, mask, inputs, bad_inputs)
        draft.born = int(fresh.sum()) if fresh is not None else 0
        at = first_true(fresh if draft.born and fresh is not None else mask)
        draft.samples = rows_of_output(
            call, shown, fresh if draft.born and fresh is not None else mask, inputs, self.belonging, self.around.batch_size
        )
        if draft.born:
            self.crossings.explain(draft, call, shown)
            if self.around.batch_size is None and mask.dim() and mask.shape[0] <= _FIRST:
                draft.first = mask.shape[0], tuple(mask.reshape(mask.shape[0], -1).any(1).nonzero().flatten().tolist())
        draft.passes = (
            bool(bad_inputs)
            and not draft.born
            and any(has_nan(one.values) for one in bad_inputs if one.values is not None)
        )
        if draft.passes:
            self._budget -= shown.numel() + sum(one.part.numel() for one in inputs)
        if not draft.passes or self._budget > 0:
            self._describe(draft, call, operands, inputs, at, shown, frames)
        if draft.born:
            draft.flushed = self.flushes.behind([one.part for one in inputs])
            draft.wrapped = self._wrapped(call, operands, at, shown)
        if draft.born and call.joined is not None and draft.forward >= 0:
            self._join(draft, call, inputs, at, shown)
        elif call.joined is not None and not draft.born and not draft.passes:  # an infinite slope meets what arrives
            self._sent(draft, call.joined, inputs, at, shown)
        self.link(draft)

    def _carries_rows(self, call: Call, part: torch.Tensor) -> bool:
        """True if the batch runs through a dense output `part` of `call`."""
        size = self.around.batch_size
        if call.phase == "backward":
            return call.joined is not None and part.shape in call.joined.shapes
        return (
            call.rows and size is not None and part.dim() > 0 and (part.shape[0] % size == 0 or size in part.shape[:2])
        )

    @staticmethod
    def _gate(call: Call, inputs: Sequence[Input]) -> object:
        """The forward call whose selection shaped the gradients that `call` gives out."""
        inherited = next((one.record.gate for one in inputs if one.record is not None and one.record.gate), None)
        joined = call.joined
        if joined is not None and joined.recipe.gate and (joined.kind != "mul" or inherited is None):
            return joined
        return inherited

    @staticmethod
    def _fresh(
        call: Call, mask: torch.Tensor, inputs: Sequence[Input], bad_inputs: Sequence[Input]
    ) -> torch.Tensor | None:
        """The non-finite output elements whose operands were all finite; ``None`` if that cannot be told: the operands
        are non-finite, and the operator is not element-wise."""
        if not bad_inputs:
            return mask
        if not call.recipe.pointwise:
            return None
        fresh = mask
        for one in bad_inputs:
            values = one.values
            if values is None or values.dim() > mask.dim():
                return None
            try:
                fresh = fresh & ~bad_mask(values).expand(mask.shape)
            except RuntimeError:
                return None
        return fresh

    def _join(
        self, draft: Draft, call: Call, inputs: Sequence[Input], at: tuple[int, ...], shown: torch.Tensor
    ) -> None:
        """Keep the forward call of a birth in backward, and the selection that sent it an exact zero."""
        forward = call.joined
        if forward is None:
            return
        if forward.index not in self.drafts:
            joined = self.drafts[forward.index] = Draft.of_forward(forward, at, shown.shape)
            kept = [one.tensor for one in forward.kept if one.unchanged]
            if len(kept) == len(joined.inputs):
                joined.inputs = tuple(map(self.makers.told, joined.inputs, kept))
        if draft.flushed < 0:
            draft.flushed = self.flushes.behind([kept.tensor for kept in forward.kept if kept.unchanged])
        self._sent(draft, forward, inputs, at, shown)

    def _sent(
        self, draft: Draft, forward: Forward, inputs: Sequence[Input], at: tuple[int, ...], shown: torch.Tensor
    ) -> None:
        """Keep the selection that sent an exact zero to where `draft` went bad."""
        for one in inputs:
            gate = one.record.gate if one.record is not None else None
            place = aligned_index(at, one.part.shape, shown.shape)
            if gate is not None and gate is not forward and place is not None and bool(one.part[place] == 0):
                draft.gate = gate.index  # type: ignore[attr-defined]
                if draft.gate not in self.drafts:
                    self.drafts[draft.gate] = Draft.of_forward(gate, (), None)  # type: ignore[arg-type]
                return

    def _describe(
        self,
        draft: Draft,
        call: Call,
        operands: Sequence[Operand],
        inputs: Sequence[Input],
        at: tuple[int, ...] | None,
        shown: torch.Tensor | None,
        frames: Frame,
    ) -> None:
        """Statistics of the operands and of the output `shown`, quoting element `at` of it."""
        expression = self.frames.location(call.spot).expression if not call.spot.engine else ""
        names = names_of(
            [(o.position, o.name, o.tensor) for o in operands],
            call.recipe.base,
            expression,
            frames() if not call.spot.engine else (),
        )
        by_operand = {id(one.operand.tensor): one for one in inputs}
        stats: list[TensorStats] = []
        for operand, name in zip(operands, names, strict=True):
            one = by_operand.get(id(operand.tensor))
            values = one.values if one is not None else dense(operand.tensor)
            if values is None or (one is None and operand.name in call.recipe.written):
                continue
            place = None
            if at is not None and shown is not None and call.recipe.aligned:
                place = aligned_index(at, values.shape, shown.shape)
            stats.append(self.makers.told(describe(values, name, place), operand.tensor))
        draft.inputs = tuple(stats)
        if shown is not None:
            draft.output = describe(shown, "output", at)

    def _wrapped(self, call: Call, operands: Sequence[Operand], at: tuple[int, ...] | None, shown: torch.Tensor | None) -> int:
        """The call in which an operand of this one left the range of its whole numbers, at what made element `at`; -1 if none did. The
        last operand first: a divisor, an exponent."""
        for operand in reversed(operands):
            aligned = at is not None and shown is not None and call.recipe.aligned
            place = aligned_index(at, operand.tensor.shape, shown.shape) if aligned else None  # type: ignore[arg-type,union-attr]
            found = self.wraps.behind(operand, place)
            if found >= 0:
                return found
        return -1

    def link(self, draft: Draft) -> None:
        """Note who read which leaf, and keep calls that gave out memory nobody wrote, now that somebody read it."""
        for source in draft.sources:
            if source < 0:
                self.read_by.setdefault(-1 - source, draft.index)
            elif source in self._empty and source not in self.drafts:
                call = self._empty[source]
                draft_of_empty = self.drafts[source] = Draft.of_call(call, source, "empty")
                draft_of_empty.born = 1

    def _unwritten(self, call: Call, result: Any) -> None:
        for tensor in outputs_of(result):
            part = dense(tensor) if is_number(tensor) else None
            if part is None:
                continue
            if call.recipe.kind == "empty":
                self._empty[call.index] = call
                self.flow.write(part, call.index)
            else:
                self.flow.record(part).known = False

    def harmful(self) -> set[int]:
        """The calls outside of backward and update that gave out a non-finite value nobody wrote on purpose."""
        harmful: set[int] = set()
        for index in sorted(self.drafts):
            draft = self.drafts[index]
            if draft.absorbed or draft.phase in ("backward", "optimizer"):
                continue
            leaves = any(source < 0 and self.around.leaves[-1 - source].stats.nan for source in draft.sources)
            if (draft.born and not draft.sentinel) or leaves or draft.sources & harmful:
                harmful.add(index)
        return harmful

    def raised(self, call: Call, error: BaseException, frames: Sequence[FrameType]) -> None:
        """Keep a call that raised `error`."""
        index = call.index
        if (
            call.recipe.base == "linalg_check_errors"
            and self.last is not None
            and self.last.recipe.kind in ops.DECOMPOSITIONS
        ):
            # The decomposition itself returned a code; this call only turns it into an exception.
            call = self.last
        draft = self.drafts[index] = Draft.of_call(call, index, call.recipe.kind)
        draft.raised = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        for one in call.inputs:
            if one.bad:
                draft.sources |= one.sources
        self._describe(draft, call, call.operands, call.inputs, None, None, lambda: frames)
        place, at, rows = forbidden(call, self.belonging, self.around.batch_size)
        if at is not None and place < len(draft.inputs):
            part = dense(call.operands[place].tensor)
            if part is not None:
                draft.inputs = (
                    *draft.inputs[:place],
                    describe(part, draft.inputs[place].name, at),
                    *draft.inputs[place + 1 :],
                )
        draft.samples = rows
        self.raised_by[id(error)] = (error, index)
        self.link(draft)
