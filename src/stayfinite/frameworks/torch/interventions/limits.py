"""An operand kept inside a domain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from stayfinite.frameworks.torch.interventions.matching import is_in_place, name_of, operand_key, operand_keys
from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Given
from stayfinite.records.intervention import Within
from stayfinite.records.numbers import to_float


class Onwards(torch.autograd.Function):
    """`nearest` in the place of a value, and to the value the gradient that it gets."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, nearest: Tensor) -> Tensor:
        return nearest.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


class Limited(Operators):
    """Performs `Within`. Elements that are NaN already are left: no bound makes a number of them. A tensor that was kept inside
    its domain once is so for every later operator of the step: a variance is divided by as well as its logarithm is taken."""

    def __init__(self, intervention: Within, given: Given) -> None:
        super().__init__(intervention.place, given)
        self._what = intervention
        self._kept: dict[int, tuple[Tensor, int, Tensor]] = {}
        """`id` of a tensor -> itself, its version, and what stands for it."""

    def handed(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not self._kept or is_in_place(function):
            return args, kwargs
        return tree_map_only(Tensor, self._instead, args), tree_map_only(Tensor, self._instead, kwargs)

    def _instead(self, value: Tensor) -> Tensor:
        known = self._kept.get(id(value))
        return known[2] if known is not None and known[0] is value and known[1] == value._version else value

    def _as_first(self, value: Any) -> Any:
        """What a checkpoint computes once more is bounded as it was the first time: what stood for a tensor is the tensor again."""
        if torch._C._current_graph_task_id() == -1:
            return value
        return next((known[0] for known in self._kept.values() if known[2] is value), value)

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        what = self._what
        if name_of(function) in ("getitem", "setitem") and what.operand > 0 and isinstance(args[1], (tuple, list)):
            return self._chosen_by(function, args, kwargs)
        if what.operand < 0:
            keys: Sequence[int | str | None] = [*operand_keys(args, kwargs), *_infinities(args, kwargs)]
        else:
            keys = [operand_key(function, args, kwargs, what.place.kind, what.operand)]
        new, named = list(args), dict(kwargs)
        wrong: Tensor | None = None
        for key in keys:
            if key is None:
                continue
            bounded, where = self._bounded(args[key] if isinstance(key, int) else kwargs[key])
            wrong = where if where is not None else wrong
            if isinstance(key, int):
                new[key] = bounded
            else:
                named[key] = bounded
        if all(one is other for one, other in zip(new, args, strict=True)) and all(named[key] is kwargs[key] for key in kwargs):
            return function(*args, **kwargs)
        before = self.plain(function, args, kwargs)
        after = self.run(function, args, kwargs, new, named)
        self.compare(before, after)
        if wrong is not None:
            self.arrivals.of(after, wrong)
        return after

    def _chosen_by(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``x[rows, labels]``: operand 1 is the first tensor among the indices."""
        indices = list(args[1])
        tensors = [place for place, value in enumerate(indices) if isinstance(value, Tensor)]
        if self._what.operand > len(tensors):
            return function(*args, **kwargs)
        at = tensors[self._what.operand - 1]
        indices[at], _ = self._bounded(indices[at])
        return function(args[0], tuple(indices), *args[2:], **kwargs)

    def _bounded(self, value: Any) -> tuple[Any, Tensor | None]:
        """`value` inside the domain, and which of its elements were not; itself and ``None`` if all were."""
        value = self._as_first(value)
        low, high, away = to_float(self._what.low), to_float(self._what.high), self._what.away
        if self._what.passes and not (isinstance(value, Tensor) and value.is_floating_point()):
            return value, None
        if not isinstance(value, Tensor):
            nearest = min(max(float(value), low), high)
            nearest = math.copysign(away, nearest) if abs(nearest) < away else nearest
            if nearest == value or self._what.others:
                return value, None
            self.applied += 1
            return nearest, None
        if value.dtype is torch.bool or value.is_complex():
            return value, None
        with torch.no_grad():
            nearest, wrong = _nearest(value.detach(), low, high, away)
            if self._what.others:
                wrong = _others(wrong)
                nearest = _shifted(value.detach(), low, high)
            count = int(wrong.sum())
        if not count:
            return value, None
        self.applied += count
        if self._what.passes and bool(torch.isfinite(value.detach()[wrong]).all()):
            # the value is the allowed one, and its slope there is what comes back
            bounded = Onwards.apply(self.watches.at(value, wrong), nearest)
        else:
            bounded = torch.where(wrong, nearest, self.watches.at(value, wrong))
        if not value.is_inference():
            self._kept[id(value)] = value, value._version, bounded
        return bounded, wrong


def _infinities(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int | str]:
    """Where infinite numbers stand in a call that are no tensors: ``(1 - keep) * float("-inf")``."""
    given: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    return [key for key, value in given if isinstance(value, float) and math.isinf(value)]


def _nearest(value: Tensor, low: float, high: float, away: float) -> tuple[Tensor, Tensor]:
    """The nearest allowed number for each element, and which of them were not allowed."""
    if not value.is_floating_point():
        whole = torch.iinfo(value.dtype)
        nearest = value.clamp(max(whole.min, _whole(low, math.ceil)), min(whole.max, _whole(high, math.floor)))
        least = math.ceil(away)
        return torch.where((nearest == 0) & (least > 0), torch.full_like(nearest, least), nearest), (
            ((value < low) | (value > high)) | ((value == 0) & (least > 0)))
    nearest = value.clamp(low, high)
    if away:
        sign = torch.where(nearest < 0, -1.0, 1.0).to(nearest.dtype)
        nearest = torch.where(nearest.abs() < away, sign * away, nearest)
    return nearest, (nearest != value) & ~torch.isnan(value)


def _whole(limit: float, rounded: Any) -> int:
    return int(rounded(limit)) if math.isfinite(limit) else int(math.copysign(2**63 - 1, limit))


def _others(wrong: Tensor) -> Tensor:
    """As many elements as `wrong` marks, taken among those it does not; none where it marks all."""
    free = torch.nonzero(~wrong.reshape(-1)).reshape(-1)
    count = int(wrong.sum())
    chosen = torch.zeros_like(wrong.reshape(-1))
    if count and len(free):
        step = max(1, len(free) // count)
        chosen[free[::step][:count]] = True
    return chosen.reshape(wrong.shape)


def _shifted(value: Tensor, low: float, high: float) -> Tensor:
    """A change as small as keeping an operand inside its domain is: one part in a thousand; one, of whole numbers."""
    if value.is_floating_point():
        return value * (1.0 + 1e-3)
    return torch.where(value + 1 <= high, value + 1, torch.where(value - 1 >= low, value - 1, value))
