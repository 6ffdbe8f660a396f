"""The state before one update, kept while the training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter

from stayfinite.frameworks.torch.clearing import clear
from stayfinite.frameworks.torch.generators import generator_states
from stayfinite.frameworks.torch.state import Copy, group_undo, optimizer_undo, scaler_undo, scheduler_undo
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.rewrite.saved import Saved
from stayfinite.rewrite.undo import Undo


class Kept:
    """Parameters, buffers, moments, schedules, scalers and generators before update number `step`.

    `saved`: the names of a block whose own code takes its updates, and what else it trains; of it only parameters and moments
    are kept, because other names may hold a graph. `gradients`: puts those back that were alive.
    """

    def __init__(self, step: int, subjects: Subjects, saved: Saved | None, gradients: Undo | None = None) -> None:
        self.step = step
        self.subjects = subjects
        self.values = Copy([*subjects.parameters, *subjects.buffers])
        self._optimizers = [optimizer_undo(optimizer) for optimizer in subjects.optimizers]
        self._scalers = [scaler_undo(scaler) for scaler in subjects.scalers]
        self._schedulers = [scheduler_undo(scheduler) for scheduler in subjects.schedulers]
        self._generators = generator_states()
        self._gradients = gradients
        self._trained: list[Undo] = [] if saved is None else saved.trained
        self.names = {} if saved is None else {name: value for name, value in saved.names.items() if _is_trained(value)}
        self.identity = identity(subjects)
        moments = [value for optimizer in subjects.optimizers for state in optimizer.state.values() for value in _tensors(state)]
        self.nbytes = self.values.nbytes + sum(moment.nbytes for moment in moments)

    def is_finite(self) -> bool:
        """True if every parameter that an optimizer updates holds finite values here."""
        owned = self.subjects.owned or self.subjects.known
        return all(bool(torch.isfinite(kept).all()) for tensor, kept in self.values.pairs() if id(tensor) in owned and _floats(kept))

    def rewind(self) -> None:
        """Put parameters, buffers, moments, scales and gradients back. Rates, schedules and generators stay: they belong to the loop and
        to the data, which go on."""
        rates = [group_undo(optimizer) for optimizer in self.subjects.optimizers]
        self.values.restore()
        for undo in (*self._optimizers, *self._scalers, *rates):
            undo()
        for undo in reversed(self._trained):
            undo()
        self._put_gradients(zeroes=True)  # a script that clears them by itself may count on there being some

    def restore(self, *, zeroes: bool = False) -> None:
        """Put everything back, for a repetition. `zeroes`: gradients are cleared by filling them with zeros."""
        self.values.restore()
        for undo in (*self._optimizers, *self._schedulers, *self._scalers):
            undo()
        for undo in reversed(self._trained):
            undo()
        self._generators()
        self._put_gradients(zeroes=zeroes)

    def _put_gradients(self, *, zeroes: bool) -> None:
        """Those that were alive before the update; where none were, none are."""
        if self._gradients is not None:
            self._gradients()
        else:
            clear(self.subjects.parameters, zeroes=zeroes)


def identity(subjects: Subjects) -> tuple[int, ...]:
    """Equal for subjects that are made of the same tensors and optimizers."""
    return (*map(id, subjects.parameters), *map(id, subjects.buffers), *map(id, subjects.optimizers))


def can_be_kept(subjects: Subjects) -> bool:
    """False while a parameter has no values yet."""
    return not any(isinstance(parameter, UninitializedParameter) for parameter in subjects.parameters)


def size_of(subjects: Subjects) -> int:
    """Bytes of a `Kept`; the moments as they are now."""
    tensors: list[Tensor] = [*subjects.parameters, *subjects.buffers]
    tensors += [value for optimizer in subjects.optimizers for state in optimizer.state.values() for value in _tensors(state)]
    return sum(tensor.nbytes for tensor in tensors)


def _tensors(state: Any) -> list[Tensor]:
    return [value for value in state.values() if isinstance(value, Tensor)] if isinstance(state, Mapping) else []


def _floats(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _is_trained(value: object) -> bool:
    """True for a leaf that takes a gradient, and for a list or mapping of such."""
    if isinstance(value, Tensor):
        return value.is_leaf and value.requires_grad
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return bool(inner) and len(value) <= 256 and all(map(_is_trained, inner))  # type: ignore[arg-type]
