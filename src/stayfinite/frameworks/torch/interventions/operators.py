"""Operators of one line computed otherwise: what all performers that look at operators have in common.

A `TorchFunctionMode` sees each call of a torch function or tensor method before automatic differentiation does. What it
hands on is differentiated like anything else, so the backward pass is that of the changed step.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_map_only

from stayfinite.frameworks.torch.interventions.matching import apart, dispatched, is_in_place, kinds_of
from stayfinite.frameworks.torch.interventions.performing import Calls, Given, Performer
from stayfinite.frameworks.torch.stats import quietly
from stayfinite.records.intervention import Effect, Place

_SEEN = 64
"""Lines that are remembered at most."""
_LOOKED_INTO = ("torch.nn.functional", "torch.functional", "torch.linalg", "torch.special", "torch.fft")
"""Modules whose functions are looked into where their names tell nothing."""


class Operators(Performer):
    """Sees every call of a torch function; changes those at `place` (``None``: all that compute)."""

    def __init__(self, place: Place | None, given: Given) -> None:
        super().__init__()
        self.place = place
        self.given = given
        self.watches, self.arrivals = Gradients(), Gradients()
        self.changed = 0
        self.deviation = 0.0
        self._seen: dict[Place, None] = {}
        self._dispatched: dict[Any, frozenset[str]] = {}
        self._running: list[nn.Module] = []

    def entered(self) -> AbstractContextManager[Any]:
        stack = ExitStack()
        if self.place is not None and self.place.module is not None:
            stack.callback(register_module_forward_pre_hook(self._module_begins).remove)
            stack.callback(register_module_forward_hook(self._module_ends, always_call=True).remove)
        stack.enter_context(Calls(self))
        return stack

    def places(self) -> tuple[Place, ...]:
        return tuple(self._seen)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What stands for `function(*args, **kwargs)`."""
        args, kwargs = self.handed(function, args, kwargs)
        kinds = kinds_of(function)
        if not kinds and not str(getattr(function, "__module__", "")).startswith(_LOOKED_INTO):
            return function(*args, **kwargs)
        here = self._where(kinds)
        if here is not None and self._is_meant(function, args, kwargs, kinds, here):
            try:
                return self.change(function, args, kwargs)
            except Exception as error:  # what raises without the change too is the step's own affair
                if type(error).__module__ == "torch.utils.checkpoint":  # how a checkpoint says that it has computed enough
                    raise
                result = function(*args, **kwargs)
                self.refused = self.refused or f"the change itself raised {type(error).__name__}: {error}"
                return result
        return function(*args, **kwargs)

    def handed(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What any call is handed in the place of its arguments."""
        return args, kwargs

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The changed call; as it is, for performers that only look on."""
        return function(*args, **kwargs)

    def effect(self) -> Effect:
        return Effect(
            applied=self.applied, refused=self.refused, changed=self.changed, deviation=self.deviation,
            gradient=self.watches.told(), arrived=self.arrivals.told(),
        )

    # -- which calls ---------------------------------------------------------------------------------------------

    def _where(self, kinds: frozenset[str]) -> tuple[str, int] | None:
        backwards = torch._C._current_graph_task_id() != -1
        spot = self.given.frames.spot(sys._getframe(3), backwards)
        if spot.code is None or (backwards and spot.engine):  # what hooks compute belongs to no line of the step
            return None
        here = self.given.frames.location(spot)
        if len(self._seen) < _SEEN and kinds and kinds != {"move"}:
            self._seen[Place(min(kinds), here.file, here.line)] = None
        return here.file, here.line

    def _is_meant(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], kinds: frozenset[str], here: tuple[str, int]
    ) -> bool:
        place = self.place
        if place is None:
            return bool(kinds)
        if (place.file and (place.file, place.line) != here) or (place.module is not None and not self._runs(place.module)):
            return False
        if not place.kind or place.kind in kinds:
            return True
        if function not in self._dispatched:
            self._dispatched[function] = dispatched(function, args, kwargs)
        return place.kind in self._dispatched[function]

    def _module_begins(self, module: nn.Module, inputs: Any) -> None:
        self._running.append(module)

    def _module_ends(self, module: nn.Module, inputs: Any, output: Any) -> None:
        while self._running and self._running.pop() is not module:  # an exception skips the hooks of inner modules
            pass

    def _runs(self, path: str) -> bool:
        """Whether the innermost running module is the one that reports call `path`."""
        if not self._running:
            return False
        inner = self._running[-1]
        for root in self.given.subjects.roots:
            for name, module in root.named_modules():
                if module is inner:
                    return (name or type(module).__name__) == path
        return type(inner).__name__ == path

    # -- what a change came to -----------------------------------------------------------------------------------

    def plain(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """What the unchanged call gives, computed on copies beside the step; ``None`` if it raises."""
        generators = torch.get_rng_state()
        try:
            with quietly():  # a tracer must not take it for a part of the step
                return function(*tree_map_only(Tensor, apart, tuple(args)), **tree_map_only(Tensor, apart, kwargs))
        except Exception:  # a change may be what lets it run at all
            return None
        finally:
            torch.set_rng_state(generators)

    def run(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], new: Sequence[Any], named: dict[str, Any]) -> Any:
        """`function` with the arguments `new` and `named` in the place of its own; what it writes into, it still writes into."""
        if is_in_place(function) and new and new[0] is not args[0]:
            target = new[0].clone()
            function(target, *new[1:], **named)
            return args[0].copy_(target)
        return function(*new, **named)

    def compare(self, before: Any, after: Any) -> None:
        """Note how far `after` lies from `before` where that was finite."""
        if not isinstance(before, Tensor) or not isinstance(after, Tensor) or before.shape != after.shape:
            return
        if before.is_complex() or before.dtype is torch.bool:
            return
        with quietly():
            one, two = before.detach().double(), after.detach().double()
            differs = torch.isfinite(one) & (one != two)
            count = int(differs.sum())
            if count:
                scale = torch.maximum(one.abs(), two.abs())[differs]
                self.changed += count
                share = ((one - two).abs()[differs] / scale).nan_to_num(math.inf)
                self.deviation = max(self.deviation, float(share.max()))


class Gradients:
    """What arrives in the backward pass at chosen elements."""

    def __init__(self) -> None:
        self._arrived: list[str] = []

    def at(self, value: Tensor, chosen: Tensor) -> Tensor:
        """`value` under another name, whose gradient at `chosen` is looked at: only what comes through that name counts."""
        if not value.requires_grad or not torch.is_grad_enabled():
            return value
        alias = value.view_as(value)
        self.of(alias, chosen)
        return alias

    def of(self, result: Any, chosen: Tensor) -> None:
        """Look at the gradient that `result` gets, at the elements that belong to `chosen` of an operand."""
        if not isinstance(result, Tensor) or not result.requires_grad or not torch.is_grad_enabled():
            return
        meant = aligned(chosen, result)

        def look(gradient: Tensor) -> None:
            with torch.no_grad():
                there = gradient.detach()
                if meant is not None and meant.shape == there.shape:
                    there = there[meant]
                if there.numel():
                    worst = float(there.abs().double().max())
                    self._arrived.append("zero" if worst == 0.0 else "finite" if worst < math.inf else "nonfinite")

        result.register_hook(look)

    def told(self) -> Any:
        """The worst of what arrived: ``"nonfinite"``, then ``"finite"``; ``"zero"`` only where nothing else came."""
        return next((word for word in ("nonfinite", "finite", "zero") if word in self._arrived), "")


def aligned(chosen: Tensor, result: Tensor) -> Tensor | None:
    """The elements of `result` that those of an operand belong to: the same ones, those it was spread over, or those it was
    reduced to; ``None`` if the shapes do not tell."""
    if chosen.shape == result.shape:
        return chosen
    shape = tuple(result.shape)
    try:
        if torch.broadcast_shapes(chosen.shape, shape) == shape:
            return chosen.expand(shape)
    except RuntimeError:
        pass
    if chosen.dim() == len(shape):
        over = [axis for axis in range(len(shape)) if shape[axis] == 1 != chosen.shape[axis]]
        kept = chosen.any(dim=over, keepdim=True) if over else chosen
        return kept if tuple(kept.shape) == shape else None
    if chosen.dim() > len(shape) and tuple(chosen.shape[: len(shape)]) == shape:
        return chosen.reshape(*shape, -1).any(-1)
    return None
