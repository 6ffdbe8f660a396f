"""Operators computed in another floating-point format."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from stayfinite.frameworks.torch.interventions.matching import is_in_place, kinds_of, name_of
from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Given
from stayfinite.frameworks.torch.stats import NARROW_INTEGERS
from stayfinite.records.intervention import Precision

_LOW = (torch.float16, torch.bfloat16, torch.float32)
_WIDE = {"float32": torch.float32, "float64": torch.float64}
_CASTS = frozenset({"half", "bfloat16", "to", "type", "type_as"})


class Recomputed(Operators):
    """Performs `Precision`: operands are converted, and the result goes back to the format it would have had.

    A result that its own format cannot hold (an infinity, or a 0 that is none) would be lost again on its way back. It stays
    wide, and so does all that is computed from it, until it fits.
    """

    def __init__(self, intervention: Precision, given: Given) -> None:
        super().__init__(intervention.place, given)
        self._wide = _WIDE[intervention.format]
        self._kept: dict[int, tuple[Tensor, torch.dtype]] = {}
        """`id` of a tensor that does not fit -> itself, which must stay alive, and the format it would have."""

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._kept and kinds_of(function):
            narrow = next((known[1] for leaf in tree_leaves((args, kwargs)) if (known := self._known(leaf)) is not None), None)
            if narrow is not None and not is_in_place(function):
                return self._go_on(function, args, kwargs, narrow)
        return super().call(function, args, kwargs)

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        narrow = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and self._is_narrowed(leaf)]
        if not narrow or "out" in kwargs:
            return function(*args, **kwargs)
        if self.place is None:
            return self._widely(function, args, kwargs, narrow)
        plain = self.plain(function, args, kwargs)
        new, named = tree_map_only(Tensor, self._widened, args), tree_map_only(Tensor, self._widened, kwargs)
        with torch.autocast(narrow[0].device.type, enabled=False):
            if is_in_place(function):
                result = self.run(function, args, kwargs, (new[0].clone(), *new[1:]), named)
            else:
                result = function(*new, **named)
        self.applied += 1
        self.compare(plain, result)
        return result if is_in_place(function) else self._as_before(result, plain)

    def _widely(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], narrow: list[Tensor]) -> Any:
        """All of the step in the wide format: what a script converts itself is left as it is."""
        if is_in_place(function):
            return function(*args, **kwargs)
        self.applied += 1
        if name_of(function) in _CASTS and isinstance(args[0], Tensor) and args[0].is_floating_point():
            asked = [one for one in (*args[1:], *kwargs.values()) if isinstance(one, torch.dtype)]
            if all(one.is_floating_point for one in asked):
                return self._widened(args[0])
        with torch.autocast(narrow[0].device.type, enabled=False):
            return function(*tree_map_only(Tensor, self._widened, args), **tree_map_only(Tensor, self._widened, kwargs))

    def _go_on(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], narrow: torch.dtype) -> Any:
        """A call that is given something which does not fit: computed widely, and kept so if it does not fit either."""
        new, named = tree_map_only(Tensor, self._widened, args), tree_map_only(Tensor, self._widened, kwargs)
        if name_of(function) in _CASTS | {"float", "double"}:
            result = function(*new, **named)
            if not isinstance(result, Tensor) or not result.is_floating_point():
                return result
            # the same tensor under another name, where nothing was converted: what was kept is what it was before
            return self._keep(new[0], result.dtype) if _lost(new[0], result.dtype) else result.view_as(result)
        with torch.autocast(self._wide_device(new), enabled=False):
            result = function(*new, **named)
        return tree_map_only(Tensor, lambda value: self._settled(value, narrow), result)

    def _as_before(self, result: Any, plain: Any) -> Any:
        """`result` in the formats of `plain`, as far as they hold it."""
        if isinstance(result, Tensor) and isinstance(plain, Tensor):
            return self._settled(result, plain.dtype)
        if isinstance(result, (tuple, list)) and isinstance(plain, (tuple, list)) and type(result) in (tuple, list):
            return type(result)(self._as_before(one, other) for one, other in zip(result, plain, strict=True))
        return result

    def _settled(self, value: Tensor, narrow: torch.dtype) -> Tensor:
        if value.dtype is not self._wide or value.dtype is narrow or not narrow.is_floating_point:
            return value
        return self._keep(value, narrow) if _lost(value, narrow) else value.to(narrow)

    def _keep(self, value: Tensor, narrow: torch.dtype) -> Tensor:
        self._kept[id(value)] = value, narrow
        return value

    def _known(self, leaf: Any) -> tuple[Tensor, torch.dtype] | None:
        known = self._kept.get(id(leaf))
        return known if known is not None and known[0] is leaf else None

    def _widened(self, value: Tensor) -> Tensor:
        if not self._is_narrower(value):
            return value
        return _Widened.apply(value, self._wide) if self.place is None else value.to(self._wide)  # type: ignore[no-any-return]

    def _is_narrower(self, value: Tensor) -> bool:
        return value.dtype in _LOW and value.dtype != self._wide and value.dtype is not torch.float64

    def _is_narrowed(self, value: Tensor) -> bool:
        """Whether `value` is of a narrower format, or autocast would make it so on its way into the operator."""
        if self._is_narrower(value):
            return True
        return value.dtype is torch.float32 and torch.is_autocast_enabled(value.device.type)

    def _wide_device(self, arguments: Any) -> str:
        return next((leaf.device.type for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)), "cpu")


class Whole(Operators):
    """Performs `Precision` in whole numbers of 64 bits. What comes of it stays as wide: its own format could not hold it."""

    def __init__(self, intervention: Precision, given: Given) -> None:
        super().__init__(intervention.place, given)
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        """`id` of a tensor that was written into -> itself, which must stay alive, and what it would be."""

    def handed(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not self._kept or not kinds_of(function):
            return args, kwargs
        return tree_map_only(Tensor, self._instead, args), tree_map_only(Tensor, self._instead, kwargs)

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "out" in kwargs or not any(isinstance(leaf, Tensor) and leaf.dtype in NARROW_INTEGERS for leaf in tree_leaves((args, kwargs))):
            return function(*args, **kwargs)
        new = [_as_wide(value) for value in args]
        named = {name: _as_wide(value) for name, value in kwargs.items()}
        self.applied += 1
        if is_in_place(function):
            kept = args[0]
            wide = function(new[0].clone(), *new[1:], **named)
            self.compare(function(*args, **kwargs), wide)
            self._kept[id(kept)] = kept, wide
            return kept
        result = function(*new, **named)
        self.compare(self.plain(function, args, kwargs), result)
        return result

    def _instead(self, value: Tensor) -> Tensor:
        known = self._kept.get(id(value))
        return known[1] if known is not None and known[0] is value else value


def _as_wide(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(torch.int64) if value.dtype in NARROW_INTEGERS else value
    return torch.int64 if value in NARROW_INTEGERS else value


class _Widened(torch.autograd.Function):
    """A conversion whose gradient is cut to what the narrow format holds: a parameter keeps its format, and its gradient has it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, wide: torch.dtype) -> Tensor:
        ctx.narrow = value.dtype
        return value.to(wide)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        limit = torch.finfo(ctx.narrow).max
        return gradient.clamp(-limit, limit).to(ctx.narrow), None


def _lost(value: Tensor, narrow: torch.dtype) -> bool:
    """Whether `narrow` makes an infinity or a 0 of a number of `value`."""
    with torch.no_grad():
        exact, short = value.detach(), value.detach().to(narrow)
        return bool(((torch.isfinite(exact) & ~torch.isfinite(short)) | ((exact != 0) & (short == 0))).any())
