"""Lowers the rate of updates and clips their gradients while a run recovers.

Both for the duration of `optimizer.step` only: the script, its schedulers and its logs keep their own numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from stayfinite import shield
from stayfinite.engine.ports import Recovering
from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.passes import Scene


class Lowering:
    """Makes updates as `policy` wants them. `scene`: the pass that is running; `recovering`: something was done for the run before."""

    def __init__(self, policy: Recovering, scene: Callable[[], Scene | None], recovering: Callable[[], bool]) -> None:
        self._policy = policy
        self._scene = scene
        self._recovering = recovering
        self._changed: dict[int, tuple[Optimizer, list[tuple[dict[str, Any], Any]]]] = {}
        """Optimizers in the middle of a step with our rate, and their own."""
        self._rates: dict[tuple[int, int], float] = {}
        """(optimizer, group) -> the last rate that could be used."""

    def attach(self) -> Callable[[], None]:
        """Change updates from now on. **Returns** what ends it."""
        hooks = (register_optimizer_step_pre_hook(self._before_step), register_optimizer_step_post_hook(self._after_step))
        backward, grad = torch.autograd.backward, torch.autograd.grad

        @functools.wraps(backward)
        def lowered_backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> Any:
            share = self._share_by_hand()
            if share != 1.0:
                grad_tensors = _scaled(tensors, grad_tensors, share)
            backward(tensors, grad_tensors, *args, **kwargs)

        @functools.wraps(grad)
        def lowered_grad(outputs: Any, inputs: Any, grad_outputs: Any = None, *args: Any, **kwargs: Any) -> Any:
            share = self._share_by_hand()
            if share != 1.0 and not kwargs.get("create_graph"):
                grad_outputs = _scaled(outputs, grad_outputs, share)
            return grad(outputs, inputs, grad_outputs, *args, **kwargs)

        # an update that the script's own code makes has no rate we know: its gradients are what can be made smaller
        torch.autograd.backward, torch.autograd.grad = lowered_backward, lowered_grad

        def detach() -> None:
            self.settle()
            torch.autograd.backward, torch.autograd.grad = backward, grad
            for hook in hooks:
                hook.remove()

        return detach

    def _share_by_hand(self) -> float:
        scene = self._scene()
        by_hand = scene is not None and scene.window.by_hand and not shield.is_off("recovery")
        return self._policy.rate if by_hand else 1.0

    def _before_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if id(optimizer) in self._changed or shield.is_off("recovery"):
            return
        with shield.shielded("recovery"):
            self._change(optimizer)

    def _after_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        changed = self._changed.pop(id(optimizer), None)
        if changed is not None:
            _give_back(changed[1])

    def settle(self) -> None:
        """Give rates back to optimizers whose step was left by an exception."""
        while self._changed:
            _give_back(self._changed.popitem()[1][1])

    def _change(self, optimizer: Optimizer) -> None:
        share, own = self._policy.rate, []
        for place, group in enumerate(optimizer.param_groups):
            rate = group.get("lr")
            if rate is None:
                continue
            number = float(rate)
            usable = math.isfinite(number) and number >= 0.0
            if usable:
                self._rates[id(optimizer), place] = number
            elif (last := self._rates.get((id(optimizer), place))) is not None and self._recovering():
                rate, number = (torch.full_like(rate, last) if isinstance(rate, Tensor) else last), last
            if share != 1.0 or not usable:
                own.append((group, group["lr"]))
                group["lr"] = rate * share
        if own:
            self._changed[id(optimizer)] = optimizer, own
        limit = self._policy.clip
        if limit is not None:
            clip(hold.gradients(optimizer), limit)


def clip(gradients: list[Tensor], limit: float) -> None:
    """Scale `gradients`, in place, so that their norm over all is at most `limit`."""
    norm = hold.norm(gradients)
    if not norm <= limit and math.isfinite(norm):
        with torch.no_grad():
            for gradient in gradients:
                gradient.mul_(limit / norm)


def _scaled(roots: Any, given: Any, share: float) -> list[Tensor | None]:
    """What to differentiate with so that every gradient is `share` of what it would be."""
    roots = [roots] if isinstance(roots, Tensor) else list(roots)
    given = [given] if given is None or isinstance(given, Tensor) else list(given)
    given = given * len(roots) if len(given) < len(roots) else given
    return [share * (torch.ones_like(root) if one is None else one) for root, one in zip(roots, given, strict=True)]


def _give_back(own: list[tuple[dict[str, Any], Any]]) -> None:
    for group, rate in own:
        group["lr"] = rate
