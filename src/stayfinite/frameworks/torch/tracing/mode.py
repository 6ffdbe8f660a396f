"""The dispatch mode under the microscope: every operator passes here, in forward, backward and optimizer alike.

For each call: which inputs are non-finite and who made them, is an output non-finite, and where in the user's code are
we. The mode changes no value, draws no random number, and passes exceptions on as they are; if its own bookkeeping
fails, it is switched off and only passes calls on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stayfinite import shield
from stayfinite.frameworks.torch.stats import dense, is_bad, is_number, quietly
from stayfinite.frameworks.torch.tracing.backward import Forward, Kept, NodeCalls
from stayfinite.frameworks.torch.tracing.drafts import Call, Input
from stayfinite.frameworks.torch.tracing.facts import COUNTED, facts_of, lines_without_loss
from stayfinite.frameworks.torch.tracing.flow import covers
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.frameworks.torch.tracing.judge import Judge
from stayfinite.frameworks.torch.tracing.modules import Modules
from stayfinite.frameworks.torch.tracing.operands import names_of
from stayfinite.frameworks.torch.tracing.phase import Phases
from stayfinite.frameworks.torch.tracing.recipes import (
    Operand,
    argument,
    numbers_of,
    operands_of,
    outputs_of,
    recipe_of,
)

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.tracing.survey import Surveyor

SENSOR = "tracer"

_COPY = 1 << 22
"""An operand of up to this many elements is copied before an in-place operator overwrites it (16 MiB of float32)."""

_COPY_IN_LIST = 1 << 16
"""The same for operators on whole lists: an optimizer overwrites every parameter several times in one step."""

_SUMMED = 2
"""What torch's operators call ``reduction="sum"``."""

_KEEP = 1 << 30
"""Bytes of forward operands that are kept alive for the backward pass; most of them autograd keeps as well."""


class Microscope(TorchDispatchMode):
    """**Arguments**: `frames`, `modules`, `phases`, `judge`: see their classes; `unseen(text)` is told what could not
    be looked into; `surveyor`: is shown every call as well. `paused` calls are passed on unseen. `nodes`: the forward
    calls by their autograd nodes."""

    supports_higher_order_operators = True

    def __init__(
        self,
        frames: Frames,
        modules: Modules,
        phases: Phases,
        judge: Judge,
        unseen: Callable[[str], None],
        surveyor: Surveyor | None = None,
    ) -> None:
        super().__init__()
        self.paused = False
        self.count = 0
        self._frames, self._modules, self._phases, self._judge, self._unseen = frames, modules, phases, judge, unseen
        self.nodes = NodeCalls()
        self._surveyor = surveyor
        self._kept_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused or shield.is_off(SENSOR) or not isinstance(func, torch._ops.OpOverload):
            if not isinstance(func, torch._ops.OpOverload):
                self._unseen(f"inside the higher-order operator {func}")
            return func(*args, **kwargs)
        call: Call | None = None
        try:
            with torch._C.DisableTorchFunction(), self._alone():
                call = self._begin(func, args, kwargs)
        except Exception as error:
            self._failed(error)
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            if call is not None:
                try:
                    with quietly():
                        ignored = argument(call.recipe, args, kwargs, "ignore_index")
                        call.ignored = call.ignored if ignored is None else int(ignored)
                        call.dimension = argument(call.recipe, args, kwargs, "dim")
                        self._judge.raised(call, error, self._frames.library_frames(sys._getframe()))
                except Exception as failure:
                    self._failed(failure)
            raise
        if call is not None:
            try:
                with torch._C.DisableTorchFunction(), self._alone():
                    self._end(call, args, kwargs, result)
            except Exception as error:
                self._failed(error)
        return result

    @staticmethod
    def _alone() -> Any:
        """Hides our own operators from modes the user pushed below this one."""
        return quietly() if torch._C._len_torch_dispatch_stack() else nullcontext()

    @staticmethod
    def _failed(error: Exception) -> None:
        if shield.strict():
            raise error
        shield.note_failure(SENSOR, error)

    def _begin(self, func: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
        """What is to be known before the call runs."""
        recipe = recipe_of(func)
        node = torch._C._current_autograd_node()
        call = Call(func, recipe, self.count, self._frames.spot(sys._getframe(), node is not None))
        call.operands = operands_of(recipe, args, kwargs)
        self.count += max((operand.place for operand in call.operands), default=0) + 1 if recipe.listed else 1
        call.phase = self._phases.of(call.spot, recipe.kind, node is not None, lambda: self._updates(call))
        if node is not None and call.phase == "backward":
            call.joined = self.nodes.find(node)
        self._place(call, node)
        if not recipe.view:
            call.numbers = numbers_of(recipe, args, kwargs)
            if recipe.base != "lift_fresh":
                self._look(call)
        if self.nodes.awaits() and any(operand.tensor.requires_grad for operand in call.operands):
            self._remember(call)
        return call

    def _updates(self, call: Call) -> bool:
        """True if a call outside of modules and backward works on gradients or writes parameters."""
        for operand in call.operands:
            part = dense(operand.tensor) if is_number(operand.tensor) else None
            kind = self._judge.around.kind_of(part) if part is not None else None
            if kind in ("gradient", "moment"):
                return True
            if kind == "parameter" and (operand.name in call.recipe.written or not torch.is_grad_enabled()):
                return True
        return False

    def _place(self, call: Call, node: Any) -> None:
        """Fill in the module and the parameter of `call`."""
        if call.phase == "backward":
            if call.joined is not None:
                call.module, call.parameter = call.joined.module, None
            elif node is not None and hasattr(node, "variable"):
                call.parameter = self._judge.around.parameter_of_tensor(node.variable)
            return
        if self._modules.stack and call.phase != "optimizer":
            call.module = self._modules.stack[-1].path

    def _look(self, call: Call) -> None:
        """Inspect the operands: which are non-finite, and since which call."""
        recipe, flow = call.recipe, self._judge.flow
        self._judge.wraps.begin(call)
        limit = _COPY_IN_LIST if recipe.listed or call.phase == "optimizer" else _COPY
        parameters = set()
        for operand in call.operands:
            tensor = operand.tensor
            if not is_number(tensor):
                part = dense(tensor)
                record = flow.get(part) if part is not None else None
                call.rows = call.rows or (record is not None and record.rows)
                continue
            part = dense(tensor)
            if part is None:
                self._unseen(f"values of {type(tensor).__name__} operands ({tensor.device.type}, {tensor.layout})")
                continue
            name = self._judge.around.parameter_of.get(flow.key(part))
            if name is not None:
                parameters.add(name)
            written = operand.name in recipe.written
            if recipe.shape_only or (written and not recipe.reads_written):
                continue
            record = flow.get(part)
            one = Input(operand, part, record, written)
            call.inputs.append(one)
            call.rows = call.rows or (record is not None and record.rows)
            if record is None or not record.finite:
                one.bad = is_bad(part)
                if one.bad:
                    one.sources = set() if recipe.control else self._judge.sources(part, operand.name, call)
                elif record is None and covers(part):
                    one.record = flow.record(part)
                    one.record.known = True
            if written and part.numel() <= limit:
                one.before = part.clone()
        if len(parameters) == 1 and call.phase != "backward":
            call.parameter = parameters.pop()

    def _remember(self, call: Call) -> None:
        """Note the call for the autograd node that was just created for it."""
        source = call.joined
        if source is not None and call.phase == "backward":
            # Backward of a backward: its place in the source is the first forward call.
            forward = Forward(
                call.index, call.recipe, source.spot, source.module, "backward", source.parameter, call.numbers
            )
        else:
            forward = Forward(call.index, call.recipe, call.spot, call.module, call.phase, call.parameter, call.numbers)
        if not self.nodes.note(forward):
            return
        call.remember = forward
        if call.recipe.singular:
            self._keep(call, forward)

    def _keep(self, call: Call, forward: Forward) -> None:
        """Keep the operands, for the case that their gradient goes wrong."""
        held = {id(one.operand.tensor): one.values for one in call.inputs}
        wanted: list[tuple[Operand, torch.Tensor]] = []
        for operand in call.operands:
            values = held.get(id(operand.tensor), None if is_number(operand.tensor) else dense(operand.tensor))
            if values is not None:
                wanted.append((operand, values))
        size = sum(values.numel() * values.element_size() for _, values in wanted)
        if self._kept_bytes + size > _KEEP:
            self._unseen("forward operands of later calls: the memory set aside for them was full")
            return
        self._kept_bytes += size
        names = names_of(
            [(operand.position, operand.name, operand.tensor) for operand, _ in wanted],
            call.recipe.base,
            self._frames.location(call.spot).expression,
            self._frames.library_frames(sys._getframe()),
        )
        forward.kept = [
            Kept(operand.position, name, values.detach()) for (operand, values), name in zip(wanted, names, strict=True)
        ]

    def _end(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """What is to be known after it ran."""
        self._judge.belonging.carry(call, args, kwargs, result)
        if not call.recipe.view:
            self._judge.judge(call, result, lambda: self._frames.library_frames(sys._getframe()))
            self._judge.flushes.look(call, args, kwargs, result)
            self._judge.wraps.look(call, args, kwargs, result)
        if self._surveyor is not None:
            self._surveyor.saw(call, args, kwargs, result, self._judge.around.batch_size)
        if call.recipe.view:
            return
        draft = self._judge.drafts.get(call.index)
        if draft is not None and call.recipe.kind in COUNTED and call.phase != "backward":
            draft.numbers = [*draft.numbers, *facts_of(call, args, kwargs, result)]
            draft.samples = lines_without_loss(call, result) or draft.samples
        if draft is not None and draft.born and not draft.samples and call.phase != "backward":
            draft.samples = self._judge.belonging.unreduced(call, args, kwargs)
        if call.remember is not None:
            first = next((dense(one) for one in outputs_of(result)), None)
            if first is not None and first.numel() == 1 and is_number(first):
                call.remember.value = float(first.real.item())
                call.remember.summed = argument(call.recipe, args, kwargs, "reduction") == _SUMMED
        if call.phase == "open" and isinstance(result, torch.Tensor) and result.dim() == 0 and is_number(result):
            self._phases.reduced(call.spot)
