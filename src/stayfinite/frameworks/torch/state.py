"""Tensors, optimizers and generators: what is captured each step, and the full snapshot round replays.

Each step only what cannot be derived is captured: generator states, the buffers that forward passes were seen to write,
group scalars, schedulers, scalers. Parameters and moments are not copied: a step that is not taken does not change them.
At an incident one full snapshot is taken and put back bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stayfinite.frameworks.torch.generators import generator_states
from stayfinite.frameworks.torch.subjects import Subjects, is_scaler, is_scheduler
from stayfinite.rewrite.undo import Undo

_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))
BUFFER_LIMIT = 64 * 2**20
"""Bytes of buffers copied per step at most. Batch statistics take kilobytes; masks and tables are not written."""


def tensor_undo(tensor: Tensor) -> Undo:
    """An undo that gives `tensor` back its present bits, in place, leaving autograd aside."""
    kept = tensor.detach().clone()

    def undo() -> None:
        with torch.no_grad():
            tensor.detach().copy_(kept)

    return undo


def values_undo(tensors: Sequence[Tensor]) -> list[Undo]:
    """As `tensor_undo` for each of `tensors`; those of one type are copied in one piece."""
    alike: dict[tuple[torch.dtype, torch.device, torch.layout], list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.device, tensor.layout), []).append(tensor.detach())
    undo: list[Undo] = []
    for (_, _, layout), group in alike.items():
        if len(group) == 1 or layout is not torch.strided:
            undo += map(tensor_undo, group)
        else:
            undo.append(_together_undo(group))
    return undo


def _together_undo(tensors: list[Tensor]) -> Undo:
    flat = torch._C._nn.flatten_dense_tensors(tensors)  # a copy, because there are several

    def undo() -> None:
        with torch.no_grad():
            for tensor, kept in zip(tensors, torch._C._nn.unflatten_dense_tensors(flat, tensors), strict=True):
                tensor.copy_(kept)

    return undo


class TorchObjects:
    """`rewrite.state.FrameworkState` for PyTorch."""

    def is_owned(self, value: object) -> bool:
        return isinstance(value, (Tensor, nn.Module, Optimizer)) or is_scheduler(value) or is_scaler(value)

    def is_state(self, value: object) -> bool:
        return not isinstance(value, Tensor) or (value.requires_grad and value.is_leaf)

    def children(self, value: object) -> Iterable[object]:
        return value.modules() if isinstance(value, nn.Module) else ()

    def own_attributes(self, value: object) -> frozenset[str]:
        return _MODULE_ATTRIBUTES if isinstance(value, nn.Module) else frozenset()

    def copy(self, value: object) -> Undo | None:
        if isinstance(value, Tensor):
            return tensor_undo(value)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray):
            kept = value.copy()
            return lambda: numpy.copyto(value, kept)
        return None


class Written:
    """Knows which buffers (and parameters that no optimizer owns, such as averaged weights) the user's code writes: those
    whose version moved, with all others of their module.

    Version counters alone would miss batch statistics: the kernel writes `running_mean` and `running_var` without
    counting (torch 2.13, CPU), and only ``num_batches_tracked`` beside them moves. For statistics kept without such a
    counter the first look copies every buffer within `BUFFER_LIMIT`, and the second compares them by value.
    """

    def __init__(self, buffers: Sequence[Tensor], names: Mapping[int, str]) -> None:
        self.buffers = list(buffers)
        self._modules = [names.get(id(buffer), "").rpartition(".")[0] for buffer in buffers]
        self._versions = [buffer._version for buffer in buffers]
        self._moving: set[str] = set()
        self.kept: frozenset[int] = frozenset()
        """`id` of what was copied last."""
        self._first: Copy | None = None
        self._looks = 0

    def undo(self) -> list[Undo]:
        """Undo steps for the buffers that may be written by the coming step."""
        self._looks += 1
        if self._looks == 2 and self._first is not None:
            changed = self._first.changed()
            self._moving.update(module for buffer, module in zip(self.buffers, self._modules, strict=True) if id(buffer) in changed)
            self._first = None
        return self.again()

    def moving(self) -> list[Tensor]:
        """The floating-point buffers that may have been written since the step began."""
        for place, (buffer, version) in enumerate(zip(self.buffers, self._versions, strict=True)):
            if version != buffer._version:
                self._moving.add(self._modules[place])
        pairs = zip(self.buffers, self._modules, strict=True)
        return [b for b, module in pairs if module in self._moving and b.is_floating_point() and not b.requires_grad]

    def again(self) -> list[Undo]:
        """The same in the middle of a step, where another update of it follows."""
        for place, (buffer, module, version) in enumerate(zip(self.buffers, self._modules, self._versions, strict=True)):
            if version != buffer._version:
                self._moving.add(module)
                self._versions[place] = buffer._version
        kept: list[Tensor] = []
        spent = 0
        for buffer, module in zip(self.buffers, self._modules, strict=True):
            if (self._looks == 1 or module in self._moving) and spent + buffer.nbytes <= BUFFER_LIMIT:
                spent += buffer.nbytes
                kept.append(buffer)
        self.kept = frozenset(map(id, kept))
        if self._looks == 1 and self._first is None:
            self._first = Copy(kept)
            return [self._first.restore]
        return values_undo(kept)


def group_undo(optimizer: Optimizer) -> Undo:
    """Undo for the scalars of an optimizer's groups (rate, momentum), as schedulers write them."""
    kept = [dict(group) for group in optimizer.param_groups]
    deep = [
        [(key, _keep_state(value)) for key, value in group.items() if key != "params" and isinstance(value, (Tensor, list, dict))]
        for group in kept
    ]

    def undo() -> None:
        for group, before, inner in zip(optimizer.param_groups, kept, deep, strict=False):
            group.clear()
            group.update(before)
            group.update({key: rebuild() for key, rebuild in inner})

    return undo


def scheduler_undo(scheduler: Any) -> Undo:
    """Undo for a scheduler's own counters."""
    kept = {key: (list(value) if isinstance(value, list) else value) for key, value in vars(scheduler).items()}
    return lambda: vars(scheduler).update(kept)


def scaler_undo(scaler: Any) -> Undo:
    """Undo for a scaler: scale, growth counter, and what it remembers of each optimizer in this step."""
    tensors = [(name, getattr(scaler, name)) for name in ("_scale", "_growth_tracker")]
    kept = [(name, value, value.clone() if isinstance(value, Tensor) else None) for name, value in tensors]
    states = {key: dict(value) for key, value in scaler._per_optimizer_states.items()}

    def undo() -> None:
        for name, value, copied in kept:
            if copied is not None:
                value.copy_(copied)
            setattr(scaler, name, value)
        scaler._per_optimizer_states.clear()
        for key, value in states.items():
            scaler._per_optimizer_states[key] = dict(value)

    return undo


def light_undo(subjects: Subjects, buffers: list[Undo]) -> list[Undo]:
    """`buffers` with undo steps for all else that a step can change without an optimizer's step, the generators aside."""
    undo = list(buffers)
    undo += [group_undo(optimizer) for optimizer in subjects.optimizers]
    undo += [scheduler_undo(scheduler) for scheduler in subjects.schedulers]
    undo += [scaler_undo(scaler) for scaler in subjects.scalers]
    return undo


def optimizer_undo(optimizer: Optimizer) -> Undo:
    """Undo for moments, counters and everything else an optimizer keeps, bit for bit and in the same tensors."""
    kept = {key: _keep_state(value) for key, value in optimizer.state.items()}
    scalars = group_undo(optimizer)
    attributes = {
        key: _keep_state(value) for key, value in vars(optimizer).items()
        if isinstance(value, (int, float, str, type(None), Tensor, list, tuple, dict))
        and key not in ("state", "param_groups", "defaults") and not key.startswith("_optimizer_")  # hooks
    }

    def undo() -> None:
        for key in [key for key in optimizer.state if key not in kept]:
            del optimizer.state[key]
        for key, rebuild in kept.items():
            optimizer.state[key] = rebuild()
        scalars()
        vars(optimizer).update({key: rebuild() for key, rebuild in attributes.items()})

    return undo


def _keep_state(value: Any) -> Callable[[], Any]:
    """A function that gives `value` back with its present content, tensors and containers in place. Parameters are kept
    by others."""
    if isinstance(value, Tensor):
        if value.requires_grad and value.is_leaf:
            return lambda: value
        undo = tensor_undo(value)

        def tensor() -> Tensor:
            undo()
            return value

        return tensor
    if isinstance(value, dict):
        items = {key: _keep_state(item) for key, item in value.items()}

        def mapping() -> Any:
            value.clear()
            value.update({key: rebuild() for key, rebuild in items.items()})
            return value

        return mapping
    if isinstance(value, (list, tuple)):
        parts = [_keep_state(item) for item in value]

        def sequence() -> Any:
            items = [rebuild() for rebuild in parts]
            if isinstance(value, list):
                value[:] = items
            return value

        return sequence
    return lambda: value


class Copy:
    """A copy of tensors' values: puts them back, or says whether they are still the same bits."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = list(tensors)
        with torch.no_grad():
            self._kept = [tensor.detach().clone() for tensor in self._tensors]
        self.nbytes = sum(tensor.nbytes for tensor in self._kept)

    def restore(self) -> None:
        """Put the values back, in place."""
        with torch.no_grad():
            for tensor, before in zip(self._tensors, self._kept, strict=True):
                tensor.detach().copy_(before)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each tensor with its copy."""
        return zip(self._tensors, self._kept, strict=True)

    def changed(self) -> set[int]:
        """`id` of each tensor that no longer holds the same bits."""
        return {id(tensor) for tensor, before in zip(self._tensors, self._kept, strict=True) if not same_bits(tensor, before)}

    def differing(self) -> int:
        """How many of the tensors no longer hold the same bits."""
        return len(self.changed())


def same_bits(one: Tensor, other: Tensor) -> bool:
    """True if both hold the same bits; NaN equals NaN of the same bits."""
    one, other = one.detach(), other.detach()
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.is_complex():
        one, other = torch.view_as_real(one.resolve_conj()), torch.view_as_real(other.resolve_conj())
    if torch.equal(one, other):  # the common case first; it calls -0.0 and 0.0 equal, which no step turns into one another
        return True
    return bool(torch.equal(torch.isnan(one), torch.isnan(other)) and torch.equal(one.nan_to_num(), other.nan_to_num()))


def parameter_undo(parameters: Sequence[Tensor]) -> Undo:
    """Undo for the values of `parameters`, in place."""
    return Copy(parameters).restore


def together(undos: Sequence[Undo]) -> Undo:
    """One undo for several, in their order."""

    def undo() -> None:
        for one in undos:
            one()

    return undo


def gradient_undo(parameters: Sequence[Tensor]) -> Undo:
    """Undo for ``.grad`` of `parameters`: the same gradient tensors with the same bits, or None where there was none."""
    kept = [(parameter.grad, None if parameter.grad is None else tensor_undo(parameter.grad)) for parameter in parameters]

    def undo() -> None:
        for parameter, (gradient, content) in zip(parameters, kept, strict=True):
            if content is not None and gradient is not None and not gradient.is_sparse:
                content()
            parameter.grad = gradient

    return undo


class Snapshot:
    """Everything a repetition may touch, captured now; `restore` puts it back bit for bit, as often as asked."""

    def __init__(self, subjects: Subjects) -> None:
        self._values = Copy([*subjects.parameters, *subjects.buffers])
        self._others = [gradient_undo(subjects.parameters)]
        self._others += [optimizer_undo(optimizer) for optimizer in subjects.optimizers]
        self._others += [scheduler_undo(scheduler) for scheduler in subjects.schedulers]
        self._others += [scaler_undo(scaler) for scaler in subjects.scalers]
        self._others.append(generator_states())

    def restore(self) -> None:
        """Put everything back."""
        self._values.restore()
        for undo in self._others:
            undo()

    def differing(self) -> int:
        """How many parameters and buffers do not hold the captured bits now."""
        return self._values.differing()
