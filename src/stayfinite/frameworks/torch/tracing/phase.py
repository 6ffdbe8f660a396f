"""In which part of the step an operator runs.

- An autograd node is being evaluated: ``"backward"``, unless a checkpointed segment is being recomputed.
- Inside `Optimizer.step`, its closure aside, or working on gradients or writing parameters by hand after a backward:
  ``"optimizer"``.
- Inside a module: ``"forward"``; inside a module or a function that says it is a loss, or in an operator that is one:
  ``"loss"``; so too inside a module without parameters that turns what a model gave into one number.
- Elsewhere it is *open* until the step is over. It was the loss if it ran after the last module call before a backward,
  or on a line that reduces to one number; part of the update if nothing was computed forward or backward after it; else
  it was forward.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from stayfinite.frameworks.torch.ops import LOSSES
from stayfinite.frameworks.torch.tracing.frames import Spot
from stayfinite.frameworks.torch.tracing.modules import Modules
from stayfinite.records.trace import Phase
from stayfinite.shield import shielding

RawPhase = Literal["forward", "loss", "backward", "optimizer", "open"]


class Phases:
    """Follows the optimizer's steps and decides the phase of each operator. **Arguments**: `modules`, and `stepping`,
    called when an optimizer begins its step."""

    def __init__(self, modules: Modules, stepping: Callable[[], None]) -> None:
        self._modules = modules
        self._stepping = stepping
        self._depth = 0
        self._closures = 0
        self._handles: list[Any] = []
        self._backwards: list[int] = []
        self._returns: list[int] = []
        self._losses: list[tuple[int, int]] = []
        self._scalar_lines: set[tuple[int, int]] = set()

    def attach(self) -> None:
        """Start to follow optimizers."""
        self._handles = [
            register_optimizer_step_pre_hook(self._begin),
            register_optimizer_step_post_hook(shielding("tracer: optimizers", self._end)),
        ]

    def detach(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _begin(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._depth += 1
        if self._depth == 1:
            self._stepping()
        # The closure computes losses inside the optimizer's step: what runs there is no update.
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._closure(args[1]), *args[2:]), kwargs
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": self._closure(kwargs["closure"])}
        return None

    def _closure(self, closure: Callable[..., Any]) -> Callable[..., Any]:
        if getattr(closure, "_stayfinite_counts", None) is self:
            return closure

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._closures += 1
            try:
                return closure(*args, **kwargs)
            finally:
                self._closures -= 1

        counted._stayfinite_counts = self  # type: ignore[attr-defined]
        return counted

    def _end(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._depth = max(0, self._depth - 1)

    def entered_model(self) -> None:
        """A model was called: an optimizer step that is still open ended by an exception somebody caught."""
        if self._closures == 0:
            self._depth = 0

    def left_model(self, index: int) -> None:
        """A model returned when `index` operators had run."""
        self._returns.append(index)

    def left_loss(self, begun: int, index: int) -> None:
        """A module that began at operator `begun` and returned when `index` had run was a loss."""
        self._losses.append((begun, index))

    def backward_begins(self, index: int) -> None:
        """A backward was called when `index` operators had run."""
        self._backwards.append(index)

    @property
    def updating(self) -> bool:
        """True inside an optimizer's own code."""
        return self._depth > self._closures

    def of(self, spot: Spot, kind: str, in_node: bool, updates: Callable[[], bool]) -> RawPhase:
        """The phase of an operator called now. `in_node`: an autograd node is being evaluated; `updates()`: it works on
        gradients, or writes parameters."""
        stack = self._modules.stack
        if in_node and not spot.recompute and not (stack and stack[-1].in_backward):
            return "backward"
        if self.updating and not in_node:
            return "optimizer"
        lossy = kind in LOSSES or spot.speaks_of_loss
        if stack:
            within = spot.code is not None and spot.code.co_name == "forward" and kind not in LOSSES
            return "loss" if any(entry.loss for entry in stack) or (lossy and not within) else "forward"
        if in_node:
            return "forward"
        if self._backwards and updates():
            return "optimizer"
        return "loss" if lossy else "open"

    def reduced(self, spot: Spot) -> None:
        """An open operator at `spot` gave one number."""
        self._scalar_lines.add(spot.line_key)

    def settle(self, raw: RawPhase, index: int, spot: Spot | None) -> Phase:
        """The final phase of operator `index`."""
        if raw == "forward" and any(begun <= index < end for begun, end in self._losses):
            return "loss"
        if raw != "open":
            return raw
        place = bisect.bisect_right(self._backwards, index)
        if place and place == len(self._backwards) and not (self._returns and self._returns[-1] > self._backwards[-1]):
            return "optimizer"
        if spot is not None and spot.line_key in self._scalar_lines:
            return "loss"
        begin = self._backwards[place - 1] if place else 0
        last = bisect.bisect_left(self._returns, self._backwards[place] if place < len(self._backwards) else 2**63) - 1
        ran = last >= 0 and self._returns[last] > begin
        return "loss" if ran and index >= self._returns[last] else "forward"
