"""Operators of one line computed otherwise: with an operand kept inside a domain, or in another format.

A `TorchFunctionMode` sees each call of a torch function or tensor method before automatic differentiation does. What it
hands on is differentiated like anything else, so the backward pass is that of the changed step.
"""

from __future__ import annotations

import math
import sys
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from stayfinite.frameworks.torch.interventions.matching import kinds_of, operand_key
from stayfinite.frameworks.torch.interventions.performing import Given, Performer
from stayfinite.records.intervention import Effect, Place, Precision, Within
from stayfinite.records.numbers import to_float

_SEEN = 64
"""Lines that are remembered at most."""
_LOW = (torch.float16, torch.bfloat16, torch.float32)
_WIDE = {"float32": torch.float32, "float64": torch.float64}


class Operators(Performer):
    """Sees every call of a torch function; changes those at `place` (``None``: all that compute)."""

    def __init__(self, place: Place | None, given: Given) -> None:
        super().__init__()
        self.place = place
        self.given = given
        self.watches = _Gradients()
        self.changed = 0
        self.deviation = 0.0
        self._seen: dict[Place, None] = {}

    def entered(self) -> AbstractContextManager[Any]:
        return _Mode(self)

    def places(self) -> tuple[Place, ...]:
        return tuple(self._seen)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What stands for `function(*args, **kwargs)`."""
        kinds = kinds_of(function)
        if not kinds:
            return function(*args, **kwargs)
        here = self._where(kinds)
        if here is not None and self._is_meant(kinds, here):
            try:
                return self.change(function, args, kwargs)
            except Exception as error:  # what raises without the change too is the step's own affair
                result = function(*args, **kwargs)
                self.refused = self.refused or f"the change itself raised {type(error).__name__}: {error}"
                return result
        return function(*args, **kwargs)

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The changed call."""
        raise NotImplementedError

    def effect(self) -> Effect:
        return Effect(
            applied=self.applied, refused=self.refused, changed=self.changed, deviation=self.deviation, gradient=self.watches.told(),
        )

    def _where(self, kinds: frozenset[str]) -> tuple[str, int] | None:
        spot = self.given.frames.spot(sys._getframe(3), False)
        if spot.code is None:
            return None
        here = self.given.frames.location(spot)
        if len(self._seen) < _SEEN:
            self._seen[Place(min(kinds), here.file, here.line)] = None
        return here.file, here.line

    def _is_meant(self, kinds: frozenset[str], here: tuple[str, int]) -> bool:
        place = self.place
        if place is None:
            return True
        return (place.file, place.line) == here and (not place.kind or place.kind in kinds)

    def compare(self, before: Any, after: Any) -> None:
        """Note how far `after` lies from `before` where that was finite."""
        if not isinstance(before, Tensor) or not isinstance(after, Tensor) or before.shape != after.shape:
            return
        with torch.no_grad():
            one, two = before.detach().double(), after.detach().double()
            if before.is_complex():
                return
            differs = torch.isfinite(one) & (one != two)
            count = int(differs.sum())
            if count:
                scale = torch.maximum(one.abs(), two.abs())[differs]
                self.changed += count
                share = ((one - two).abs()[differs] / scale).nan_to_num(math.inf)
                self.deviation = max(self.deviation, float(share.max()))


class _Mode(TorchFunctionMode):
    """Hands every call to a performer."""

    def __init__(self, owner: Operators) -> None:
        super().__init__()
        self._owner = owner

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._owner.call(func, args, kwargs or {})


class _Gradients:
    """What arrives in the backward pass at chosen elements."""

    def __init__(self) -> None:
        self._arrived: list[str] = []

    def at(self, value: Tensor, chosen: Tensor) -> Tensor:
        """`value` under another name, whose gradient at `chosen` is looked at."""
        if not value.requires_grad or not torch.is_grad_enabled():
            return value
        alias = value.view_as(value)

        def look(gradient: Tensor) -> None:
            with torch.no_grad():
                there = gradient[chosen] if chosen.shape == gradient.shape else gradient
                if there.numel():
                    worst = float(there.detach().abs().double().max())
                    self._arrived.append("zero" if worst == 0.0 else "finite" if worst < math.inf else "nonfinite")

        alias.register_hook(look)
        return alias

    def told(self) -> Any:
        """The worst of what arrived: ``"nonfinite"``, then ``"finite"``; ``"zero"`` only where nothing else came."""
        return next((word for word in ("nonfinite", "finite", "zero") if word in self._arrived), "")


class Limited(Operators):
    """Performs `Within`. Elements that are NaN already are left: no bound makes a number of them."""

    def __init__(self, intervention: Within, given: Given) -> None:
        super().__init__(intervention.place, given)
        self._what = intervention

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = operand_key(function, args, kwargs, self._what.operand)
        if key is None:
            return function(*args, **kwargs)
        value = args[key] if isinstance(key, int) else kwargs[key]
        bounded = self._bounded(value)
        if bounded is value:
            return function(*args, **kwargs)
        with torch.no_grad():
            before = function(*tree_map_only(Tensor, _apart, args), **tree_map_only(Tensor, _apart, kwargs))
        new_args = tuple(bounded if key == place else argument for place, argument in enumerate(args))
        after = function(*new_args, **{name: bounded if name == key else argument for name, argument in kwargs.items()})
        self.compare(before, after)
        return after

    def _bounded(self, value: Any) -> Any:
        low, high, away = to_float(self._what.low), to_float(self._what.high), self._what.away
        if not isinstance(value, Tensor):
            nearest = min(max(float(value), low), high)
            nearest = math.copysign(away, nearest) if abs(nearest) < away else nearest
            self.applied += nearest != value
            return nearest if nearest != value else value
        if not value.is_floating_point():
            return value
        with torch.no_grad():
            nearest = value.detach().clamp(low, high)
            if away:
                sign = torch.where(nearest < 0, -1.0, 1.0).to(nearest.dtype)
                nearest = torch.where(nearest.abs() < away, sign * away, nearest)
            wrong = (nearest != value) & ~torch.isnan(value)
            if self._what.others:
                wrong = _others(wrong)
                nearest = _shifted(value)
            count = int(wrong.sum())
        if not count:
            return value
        self.applied += count
        return torch.where(wrong, nearest, self.watches.at(value, wrong))


def _others(wrong: Tensor) -> Tensor:
    """As many elements as `wrong` marks, taken among those it does not; none where it marks all."""
    free = torch.nonzero(~wrong.reshape(-1)).reshape(-1)
    count = int(wrong.sum())
    chosen = torch.zeros_like(wrong.reshape(-1))
    if count and len(free):
        step = max(1, len(free) // count)
        chosen[free[::step][:count]] = True
    return chosen.reshape(wrong.shape)


def _shifted(value: Tensor) -> Tensor:
    """A change as small as keeping an operand inside its domain is: one part in a thousand."""
    return value.detach() * (1.0 + 1e-3)


def _apart(value: Tensor) -> Tensor:
    return value.detach().clone()


class Recomputed(Operators):
    """Performs `Precision`: operands are converted, the result goes back to the format it would have had."""

    def __init__(self, intervention: Precision, given: Given) -> None:
        super().__init__(intervention.place, given)
        self._wide = _WIDE[intervention.format]

    def entered(self) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(_Mode(self))
        return stack

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        narrow = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and self._is_narrower(value)]
        if not narrow or "out" in kwargs or str(getattr(function, "__name__", "")).endswith("_"):
            return function(*args, **kwargs)
        wide = self._wide
        with torch.no_grad():
            generators = torch.get_rng_state()
            plain = function(*tree_map_only(Tensor, _apart, args), **tree_map_only(Tensor, _apart, kwargs))
            torch.set_rng_state(generators)

        def widened(value: Tensor) -> Tensor:
            return value.to(wide) if self._is_narrower(value) else value

        with torch.autocast(narrow[0].device.type, enabled=False):
            result = function(*tree_map_only(Tensor, widened, args), **tree_map_only(Tensor, widened, kwargs))
        self.applied += 1
        self.compare(plain, result)
        return result if self.place is None else _as_before(result, plain)

    def _is_narrower(self, value: Tensor) -> bool:
        return value.dtype in _LOW and value.dtype != self._wide and value.dtype is not torch.float64


def _as_before(result: Any, plain: Any) -> Any:
    """`result` in the formats of `plain`."""
    if isinstance(result, Tensor) and isinstance(plain, Tensor):
        return result.to(plain.dtype)
    if isinstance(result, (tuple, list)) and isinstance(plain, (tuple, list)) and type(result) in (tuple, list):
        return type(result)(_as_before(one, other) for one, other in zip(result, plain, strict=True))
    return result
