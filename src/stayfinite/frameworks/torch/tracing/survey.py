"""The other thing the microscope can look for: what a step was like whose numbers are finite and that yet went wrong.

A surveyor is handed every operator that the dispatch mode sees, and the roots of every backward pass. It keeps numbers of
activations, of losses, of operators that limit or replace values, and of each parameter; where gradients end and grow it
learns from the nodes (`nodes`). It follows no single value: only which parameters a tensor depends on, and where that
dependence was cut.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch.optim import Optimizer

from stayfinite.frameworks.torch.ops import LOSSES
from stayfinite.frameworks.torch.stats import dense, describe, dtype_name, is_number, magnitude, quietly
from stayfinite.frameworks.torch.tracing.backward import Forward, NodeCalls
from stayfinite.frameworks.torch.tracing.drafts import Call
from stayfinite.frameworks.torch.tracing.flow import Flow
from stayfinite.frameworks.torch.tracing.frames import Frames, Spot
from stayfinite.frameworks.torch.tracing.handmade import Differences
from stayfinite.frameworks.torch.tracing.nodes import End, Growth, Nodes
from stayfinite.frameworks.torch.tracing.phase import Phases
from stayfinite.frameworks.torch.tracing.provenance import Made, Provenance, last_limit, was_convolved
from stayfinite.frameworks.torch.tracing.recipes import argument, outputs_of, scalars
from stayfinite.frameworks.torch.tracing.units import count, kind_of_activation
from stayfinite.records.location import UNKNOWN_LOCATION
from stayfinite.records.numbers import to_float, to_number
from stayfinite.records.survey import Barrier, Gain, LossInputs, ParameterState, Survey, Units
from stayfinite.records.tensor import TensorStats
from stayfinite.shield import shielding

_REPLACING = frozenset({"nan_to_num", "where", "masked_fill", "clamp", "max", "min"})
"""Kinds that can put a finite value in the place of one that is not."""
_LIMITING = frozenset({"clamp", "max", "min"})
_BOUNDING = frozenset({"relu", "clamp"})
_LIMITS_MOST = frozenset({"clamp", "nan_to_num"})
"""Kinds that are told from `_HALF` of the elements on: most of what they were given lies where they are flat."""
_PARTLY = _LIMITS_MOST | {"where", "masked_fill"}
_CUTTING = frozenset({"round", "sign", "compare"})
_MOST = 200
"""Activations that are counted in a step; a recurrent cell called in a Python loop makes thousands."""
_HALF = 0.5
"""Share of blocked elements from which an operator that limits values is told though something passes."""


class _Loss:
    """A loss operator. `made`: who made its prediction."""

    __slots__ = ("kind", "made", "prediction", "spot", "target")

    def __init__(self, kind: str, spot: Spot, prediction: TensorStats, target: TensorStats | None, made: Made | None) -> None:
        self.kind, self.spot, self.prediction, self.target, self.made = kind, spot, prediction, target, made


class _Guard:
    """An operator that put finite values in the place of others, without what it was given."""

    __slots__ = ("index", "kind", "module", "native", "numbers", "phase", "spot")

    def __init__(self, call: Call) -> None:
        self.index, self.kind, self.native = call.index, call.recipe.kind, call.recipe.native
        self.module, self.phase, self.spot, self.numbers = call.module, call.phase, call.spot, call.numbers


class Surveyor:
    """One surveyed step. **Arguments**: `parameters`, those of the models and of the optimizers; `names`, id -> dotted
    name; `owned`, ids of those that an optimizer has."""

    def __init__(
        self, sensor: str, parameters: Sequence[torch.Tensor], names: Mapping[int, str], owned: Container[int]
    ) -> None:
        self._parameters = list(parameters)
        self._names = [names.get(id(p), f"parameter[{number}]") for number, p in enumerate(self._parameters)]
        self._owned = owned
        self._number = {id(p): number for number, p in enumerate(self._parameters)}
        self._before: list[torch.Tensor] = []
        self._sensor = sensor
        self._batch_size: int | None = None
        self.nodes = Nodes(sensor, self._bit, _PARTLY, lambda: self._batch_size)
        self._units: list[tuple[int, Units, Spot, Made | None]] = []
        self._more_units = 0
        self._gates: dict[int, tuple[tuple[TensorStats, ...], TensorStats | None, int, int]] = {}
        self._replacing: list[_Guard] = []
        self._losses: list[_Loss] = []
        self._differences = Differences()
        self._gradients: dict[int, TensorStats | None] = {}
        self._arrived: dict[int, TensorStats] = {}
        self._changed: list[float] = []
        self._asked = self._taken = 0
        self._cleared: Spot | None = None
        self._handles: list[Any] = []

    def attach(self, flow: Flow) -> None:
        """The step begins: the parameters are now what they were before it."""
        with quietly():
            self._before = [p.detach().clone() for p in self._parameters]
        bits: dict[int, int] = {}
        self._provenance = Provenance(flow, bits)
        for number, parameter in enumerate(self._parameters):
            part = dense(parameter)
            if part is not None and parameter.requires_grad:
                bits[flow.key(part)] = 1 << number
            if parameter.requires_grad and parameter.is_leaf:
                self._handles.append(self._follow(number, parameter))

    def _follow(self, number: int, parameter: torch.Tensor) -> Any:
        def arrived(tensor: torch.Tensor) -> None:
            with quietly():
                part = dense(tensor.grad) if tensor.grad is not None else None
                if part is not None:
                    self._arrived[number] = describe(part, self._names[number])

        return parameter.register_post_accumulate_grad_hook(shielding(self._sensor, arrived))

    def detach(self) -> None:
        """The step is over: what it left is looked at, and every hook removed."""
        with quietly():
            self._changed = [
                _distance(parameter, before) for parameter, before in zip(self._parameters, self._before, strict=True)
            ]
        self._before.clear()
        self.nodes.detach()
        with torch._C.DisableTorchFunction():
            for handle in self._handles:
                handle.remove()
            for parameter in self._parameters:
                if not parameter._post_accumulate_grad_hooks:
                    parameter._post_accumulate_grad_hooks = None  # type: ignore[assignment]

    def _bit(self, tensor: torch.Tensor) -> int:
        number = self._number.get(id(tensor))
        return 0 if number is None else 1 << number

    # -- forward -------------------------------------------------------------------------------------------------

    def saw(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any, batch_size: int | None) -> None:
        """One operator ran."""
        self._batch_size = batch_size
        if call.phase in ("backward", "optimizer") or call.spot.engine:
            return
        given = self._provenance.saw(call, result)
        if not call.recipe.view or call.recipe.written:
            self._count(call, args, kwargs, result, given)

    def _count(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any, given: Made | None) -> None:
        """Keep the numbers of an activation, a loss, or an operator that limits values."""
        outputs = outputs_of(result)
        output = dense(outputs[0]) if outputs and outputs[0].is_floating_point() else None
        if output is None or not output.numel():
            return
        values = [one.values for one in call.inputs]
        first = values[0] if values else None
        kind = call.recipe.kind
        activation = kind_of_activation(call)
        inputs: tuple[TensorStats, ...] = ()
        if activation or kind in _REPLACING or kind in _CUTTING:
            names = [one.operand.name for one in call.inputs]
            inputs = tuple(describe(v, n) for v, n in zip(values[:3], names, strict=False) if v is not None)
            shown = describe(output, "output")
            replaced = sum(one.nonfinite for one in inputs) if kind in _REPLACING and not shown.nonfinite else 0
            clamped = 0
            if kind in _LIMITING and first is not None and first.shape == output.shape:
                clamped = int(((first != output) & torch.isfinite(first)).sum())
            self._gates[call.index] = inputs, shown, replaced, clamped
            if replaced and len(self._replacing) < _MOST:
                self._replacing.append(_Guard(call))
            if activation:
                self._activation(call, activation, output, first, inputs, shown, argument(call.recipe, args, kwargs, "dim"), given)
        if activation == "softmax" or kind == "log_softmax":
            dim = argument(call.recipe, args, kwargs, "dim")
            made = self._provenance.of(output)
            if made is not None and output.dim():
                made.over = output.shape[int(dim) if dim is not None else -1]
        self._loss(call, kind, first, given)
        by_hand = self._differences.saw(call, output, given, self._provenance)
        if by_hand is not None:
            self._losses.append(_Loss(by_hand.kind, by_hand.spot, by_hand.prediction, by_hand.target, by_hand.made))

    def _activation(
        self, call: Call, kind: str, output: torch.Tensor, first: torch.Tensor | None, inputs: tuple[TensorStats, ...],
        shown: TensorStats, dim: Any, given: Made | None,
    ) -> None:
        if len(self._units) >= _MOST:
            self._more_units += 1
            return
        channels = output.dim() > 3 or (output.dim() == 3 and was_convolved(given))
        counted = count(kind, output, first, channels, dim)
        units = Units(
            kind, UNKNOWN_LOCATION, call.module, counted.units, counted.dead, counted.constant, counted.saturated,
            inputs[0] if inputs else None, shown,
        )
        self._units.append((call.index, units, call.spot, given))

    def _loss(self, call: Call, kind: str, first: torch.Tensor | None, given: Made | None) -> None:
        caller = call.spot.library[0].co_name if call.spot.library is not None else ""
        by_hand = kind == "log_softmax" and given is not None and given.kind in ("softmax", "sigmoid")
        fused = kind == "log_softmax" and (caller == "cross_entropy" or by_hand)
        if kind == "sub" and caller == "l1_loss":
            kind = "l1_loss"  # it has no operator of its own
        if first is None or not (fused or kind in LOSSES):
            return
        target = None
        if not fused and len(call.operands) > 1:
            part = dense(call.operands[1].tensor)
            target = describe(part, "target") if part is not None else None
        last = self._losses[-1] if self._losses else None
        if kind == "nll_loss" and last is not None and last.kind == "cross_entropy" and last.target is None:
            if last.spot.code is call.spot.code and last.spot.offset == call.spot.offset:
                last.target = target
                return
        name = "cross_entropy" if fused else kind
        self._losses.append(_Loss(name, call.spot, describe(first, "prediction"), target, given))

    # -- backward and update -------------------------------------------------------------------------------------

    def backward_begins(self, roots: Sequence[torch.Tensor], calls: NodeCalls) -> None:
        """`roots` are about to be differentiated."""
        self.nodes.follow(roots, calls)

    def cleared(self, spot: Spot) -> None:
        """Gradients were cleared at `spot`."""
        if self._arrived and not self._asked:
            self._cleared = spot

    def before_step(self, optimizer: Optimizer) -> None:
        """An update is asked for."""
        self._asked += 1
        with quietly():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    number = self._number.get(id(parameter))
                    part = dense(parameter.grad) if parameter.grad is not None else None
                    if number is not None:
                        self._gradients[number] = describe(part, self._names[number]) if part is not None else None

    def after_step(self, optimizer: Optimizer) -> None:
        """It was taken."""
        self._taken += 1

    # -- the record ----------------------------------------------------------------------------------------------

    def finish(self, frames: Frames, phases: Phases, unseen: tuple[str, ...]) -> Survey:
        """The survey; after the step."""
        if self._more_units:
            unseen = (*unseen, f"{self._more_units} further calls of activations")
        return Survey(
            units=tuple(self._finished_units(index, units, spot, given, frames) for index, units, spot, given in self._units),
            barriers=(*self._ends(frames, phases), *self._cut_off(frames, phases)),
            gains=tuple(self._gain(growth, frames) for growth in _largest_gains(self.nodes.growths)),
            parameters=tuple(self._state(number) for number in range(len(self._parameters))),
            losses=tuple(self._loss_inputs(loss, frames) for loss in self._losses),
            stepped=bool(self._taken) or (not self._asked and any(self._changed)),
            unseen=unseen,
            cleared_at=frames.location(self._cleared),
        )

    def _finished_units(self, index: int, units: Units, spot: Spot, given: Made | None, frames: Frames) -> Units:
        if given is not None and given.spot is not None and units.input is not None:
            made = msgspec.structs.replace(units.input, made_by=(given.kind,), made_at=frames.location(given.spot))
            units = msgspec.structs.replace(units, input=made)
        arrived, left = self.nodes.passed.get(index, (float("nan"), float("nan")))
        saturated = self.nodes.flat.get(index, 0.0) if units.kind == "activation" else units.saturated
        return msgspec.structs.replace(
            units, location=frames.location(spot), gradient=to_number(arrived), passed=to_number(left), saturated=saturated
        )

    def _missing(self) -> int:
        """Bits of the parameters whose gradient is exactly zero, or that got none."""
        found = 0
        for number in range(len(self._parameters)):
            if _is_nothing(self._gradient(number)):
                found |= 1 << number
        return found

    def _gradient(self, number: int) -> TensorStats | None:
        arrived = self._arrived.get(number)
        return self._gradients.get(number, arrived)

    def _named(self, bits: int) -> tuple[str, ...]:
        return tuple(name for number, name in enumerate(self._names) if bits >> number & 1)

    def _ends(self, frames: Frames, phases: Phases) -> list[Barrier]:
        missing = self._missing()
        gathered: dict[int, tuple[Forward, float, int, bool]] = {}
        for end in self.nodes.ends:
            _, blocked, behind, wished = gathered.get(end.forward.index, (None, 0.0, 0, True))
            wished = wished and _is_wished(end, *self._gates.get(end.forward.index, ((), None, 0, 0))[:2])
            gathered[end.forward.index] = end.forward, max(blocked, end.blocked), behind | end.behind, wished
        found = []
        for forward, blocked, behind, wished in gathered.values():
            inputs, output, replaced, clamped = self._gates.get(forward.index, ((), None, 0, 0))
            limits = forward.kind in _LIMITS_MOST and blocked >= _HALF
            if not (replaced or limits or (blocked == 1.0 and behind & missing)):
                continue
            found.append(
                Barrier(
                    forward.kind, forward.recipe.native, frames.location(forward.spot), forward.module,
                    phases.settle(forward.phase, forward.index, forward.spot), inputs, output,
                    scalars(forward.numbers), blocked, replaced, clamped, False, self._named(behind & missing), wished,
                )
            )
        for guard in self._replacing:
            if guard.index not in gathered:
                inputs, output, replaced, clamped = self._gates[guard.index]
                found.append(
                    Barrier(
                        guard.kind, guard.native, frames.location(guard.spot), guard.module,
                        phases.settle(guard.phase, guard.index, guard.spot), inputs, output, scalars(guard.numbers), 0.0,
                        replaced, clamped,
                    )
                )
        return found

    def _cut_off(self, frames: Frames, phases: Phases) -> list[Barrier]:
        missing = self._missing() & self._provenance.read & ~self.nodes.reached
        found = []
        for cut in self._provenance.cuts:
            behind = cut.behind & missing
            if not behind:
                continue
            call = cut.call
            inputs = self._gates.get(call.index, ((), None, 0, 0))[0]
            found.append(
                Barrier(
                    cut.kind, call.recipe.native, frames.location(call.spot), call.module,
                    phases.settle(call.phase, call.index, call.spot), inputs, None, scalars(call.numbers), 1.0,
                    detached=True, parameters=self._named(behind),
                )
            )
        return found

    def _gain(self, growth: Growth, frames: Frames) -> Gain:
        forward = growth.forward
        kept = tuple(describe(one.tensor, one.name) for one in forward.kept if one.unchanged)
        inputs = self._gates.get(forward.index, (kept, None, 0, 0))[0]
        return Gain(
            forward.kind, forward.recipe.native, frames.location(forward.spot), to_number(growth.factor),
            to_number(growth.incoming), to_number(growth.outgoing), forward.module, inputs, scalars(forward.numbers), growth.rows,
        )

    def _state(self, number: int) -> ParameterState:
        parameter = self._parameters[number]
        part = dense(parameter.detach())
        return ParameterState(
            self._names[number], tuple(parameter.shape), dtype_name(parameter.dtype), self._gradient(number),
            parameter.requires_grad, id(parameter) in self._owned, to_number(self._changed[number]),
            to_number(magnitude(part)[0]) if part is not None and is_number(part) else 0.0,
            to_number(_reach(self._arrived[number])) if number in self._arrived else "nan",
        )

    def _loss_inputs(self, loss: _Loss, frames: Frames) -> LossInputs:
        made = loss.made
        if made is None:
            return LossInputs(loss.kind, frames.location(loss.spot), loss.prediction, loss.target)
        made = last_limit(made)
        return LossInputs(
            loss.kind, frames.location(loss.spot), loss.prediction, loss.target, made.kind,
            frames.location(made.spot) if made.spot is not None else UNKNOWN_LOCATION, made.over,
        )


def _reach(stats: TensorStats) -> float:
    return max(abs(to_float(stats.min)), abs(to_float(stats.max))) if stats.size else 0.0


def _is_nothing(gradient: TensorStats | None) -> bool:
    return gradient is None or gradient.zero == gradient.size


def _distance(parameter: torch.Tensor, before: torch.Tensor) -> float:
    after = parameter.detach()
    if after.shape != before.shape or not after.numel() or after.layout is not torch.strided:
        return 0.0
    if torch.equal(after, before):
        return 0.0
    return float((after - before).abs().max())


def _is_wished(end: End, inputs: Sequence[TensorStats], output: TensorStats | None) -> bool:
    """Whether everything lies at one bound and no unit is asked to leave it: the condition of a minimum there."""
    if end.forward.kind not in _BOUNDING or not inputs or output is None or output.min != output.max:
        return False
    below = to_float(inputs[0].max) <= to_float(output.min)
    above = to_float(inputs[0].min) >= to_float(output.max)
    return (below and end.no_more) or (above and end.no_less)


def _largest_gains(growths: Sequence[Growth]) -> list[Growth]:
    kept = sorted(growths, key=lambda growth: -growth.factor)[:50]
    chosen = {id(growth) for growth in kept}
    return [growth for growth in growths if id(growth) in chosen]
