"""What a block works on: modules, optimizers, schedulers, scalers, and the names of their parameters and buffers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer


def is_scheduler(value: object) -> bool:
    """True for the schedulers of `torch.optim` and what is derived from them."""
    scheduler = sys.modules.get("torch.optim.lr_scheduler")
    return scheduler is not None and isinstance(value, (scheduler.LRScheduler, scheduler.ReduceLROnPlateau))


def is_scaler(value: object) -> bool:
    """True for gradient scalers."""
    scaler = sys.modules.get("torch.amp.grad_scaler")
    return scaler is not None and isinstance(value, scaler.GradScaler) and value.is_enabled()


class Subjects:
    """The modules, optimizers, schedulers and scalers a block works on, without doubles, and the names of parameters."""

    def __init__(self, met: Iterable[object], optimizers: Iterable[Optimizer], names: Callable[[object], str | None]) -> None:
        modules: list[tuple[str, nn.Module]] = []
        self.optimizers: list[Optimizer] = []
        self.schedulers: list[Any] = []
        self.scalers: list[Any] = []
        bare: list[Tensor] = []
        for value in [*met, *optimizers]:
            if isinstance(value, nn.Module):
                modules.append((names(value) or "", value))
            elif isinstance(value, Optimizer):
                _add(self.optimizers, value)
            elif is_scheduler(value):
                for scheduler in _with_inner(value):
                    _add(self.schedulers, scheduler)
            elif isinstance(value, Tensor):
                bare.append(value)
            elif is_scaler(value):
                _add(self.scalers, value)
        inside = {id(child) for _, module in modules for child in module.modules() if child is not module}
        self.roots: list[nn.Module] = []
        root_names: list[str] = []
        for name, module in modules:
            if id(module) not in inside and all(module is not root for root in self.roots):
                self.roots.append(module)
                root_names.append(name)
        several = sum(1 for root in self.roots if any(True for _ in root.parameters())) > 1
        self.prefixes = [f"{name}." if several and name else "" for name in root_names]
        self.parameter_names: dict[int, str] = {}
        self.parameters: list[nn.Parameter | Tensor] = []
        self.buffers: list[Tensor] = []
        self.buffer_names: dict[int, str] = {}
        for prefix, root in zip(self.prefixes, self.roots, strict=True):
            for name, parameter in root.named_parameters():
                if id(parameter) not in self.parameter_names:
                    self.parameter_names[id(parameter)] = prefix + name
                    self.parameters.append(parameter)
            for name, buffer in root.named_buffers():
                if id(buffer) not in self.buffer_names:
                    self.buffer_names[id(buffer)] = prefix + name
                    self.buffers.append(buffer)
        for number, tensor in enumerate(bare):
            if id(tensor) not in self.parameter_names:
                self.parameter_names[id(tensor)] = names(tensor) or f"parameter[{number}]"
                self.parameters.append(tensor)
        self.known = frozenset((*self.parameter_names, *self.buffer_names))
        """`id` of all parameters and buffers with a name in a module, or bare."""
        self.owned = frozenset(id(p) for optimizer in self.optimizers for group in optimizer.param_groups for p in group["params"])
        """`id` of the parameters that an optimizer updates."""
        for position, optimizer in enumerate(self.optimizers):
            for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
                if id(parameter) not in self.parameter_names:
                    which = f"optimizer[{position}]." if len(self.optimizers) > 1 else ""
                    self.parameter_names[id(parameter)] = f"{which}param[{number}]"
                    self.parameters.append(parameter)


class Owners:
    """The `id` of every parameter that one of `optimizers` has at the moment it is asked."""

    def __init__(self, optimizers: Iterable[Optimizer]) -> None:
        self._optimizers = list(optimizers)

    def __contains__(self, key: object) -> bool:
        return any(id(p) == key for optimizer in self._optimizers for group in optimizer.param_groups for p in group["params"])


def _with_inner(scheduler: Any) -> list[Any]:
    """A scheduler and those it chains."""
    found = [scheduler]
    for inner in getattr(scheduler, "_schedulers", ()):
        found += _with_inner(inner)
    return found


def _add(items: list[Any], value: Any) -> None:
    if all(value is not item for item in items):
        items.append(value)


def namer(local_names: dict[str, Any], global_names: dict[str, Any]) -> Callable[[object], str | None]:
    """Finds the variable an object is bound to."""
    names = {id(value): name for namespace in (global_names, local_names) for name, value in namespace.items()}
    return lambda value: names.get(id(value))


def successors(before: Mapping[str, object], now: Mapping[str, object]) -> list[tuple[str, Tensor]]:
    """What an update by hand made anew instead of writing into it: leaves that take a gradient, under a name, or in a list or
    mapping under a name, that held another one of the same shape before. Each with its path: ``w``, ``weights[1]``."""
    found = []
    for name, value in before.items():
        after = now.get(name)
        if after is value or not isinstance(value, (Tensor, list, tuple, dict)):
            continue
        for path, old, new in _pairs(name, value, after):
            if new is not old and isinstance(new, Tensor) and isinstance(old, Tensor) and _is_leaf(old) and _is_leaf(new):
                if old.shape == new.shape:
                    found.append((path, new))
    return found


def _pairs(name: str, value: object, after: object) -> Iterable[tuple[str, object, object]]:
    if isinstance(value, dict) and isinstance(after, dict):
        return [(f"{name}[{key!r}]", item, after.get(key)) for key, item in value.items()]
    if isinstance(value, (list, tuple)) and isinstance(after, (list, tuple)) and len(value) == len(after):
        return [(f"{name}[{place}]", *pair) for place, pair in enumerate(zip(value, after, strict=True))]
    return [(name, value, after)]


def _is_leaf(value: Tensor) -> bool:
    return value.is_leaf and value.requires_grad
