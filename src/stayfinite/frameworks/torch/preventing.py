"""Performs the policies of `catalog.prevention` on every update, and counts what they did.

They act inside of `optimizer.step`, after the step was judged and before it is taken, as a clipping of the user's own would. A
repetition of a step takes the decisions that were taken for it, and none of its own.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from stayfinite import shield
from stayfinite.engine.ports import Preventing
from stayfinite.frameworks.torch.session import Session
from stayfinite.records.finding import Warning

OFF = "prevention"
"""The name under which a failure of ours switches it off."""


class Prevention:
    """The `policies` that are switched on for the training that `session` watches."""

    def __init__(self, policies: Preventing, session: Session) -> None:
        self._policies = policies
        self._on = policies.on
        self._session = session
        self._decided: dict[int, tuple[bool, float]] = {}
        """Optimizer -> whether its latest update was left out, and what its gradients were multiplied with."""
        self._hidden: dict[int, list[tuple[Tensor, Tensor | None]]] = {}
        self._before: dict[int, list[tuple[Tensor, Tensor, float]]] = {}
        self._counts: collections.Counter[str] = collections.Counter()
        self._first: dict[str, int] = {}
        self._updates = 0
        self._latest_loss: tuple[int, bool] = (-1, False)

    def attach(self) -> Callable[[], None]:
        """Act from now on. **Returns** what ends it."""
        hooks = (register_optimizer_step_pre_hook(self._before_step), register_optimizer_step_post_hook(self._after_step))

        def detach() -> None:
            for hook in hooks:
                hook.remove()

        return detach

    def told(self) -> list[Warning]:
        """What was done, for the report."""
        does, first = self._policies.does, self._first
        return [
            Warning("prevented", f"--prevent {name}: {does[name]}; {count} of {self._updates} were, first at step {first[name]}")
            for name, count in sorted(self._counts.items())
        ]

    def _repeating(self) -> bool:
        return self._session._inquiry is not None

    def _number(self) -> int:
        return self._session.live.updates.last

    def _loss(self) -> float | None:
        """The loss of the step that is running, of several the last; ``None`` outside of a wrapped loop."""
        scene = self._session._scene
        losses = scene.window.losses if scene is not None else []
        return losses[-1].value if losses else None

    # -- one update ----------------------------------------------------------------------------------------------

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if shield.is_off(OFF) or len(args) > 1 or kwargs.get("closure") is not None:
            return  # a closure computes its gradients later on, and more than once
        if getattr(optimizer, "grad_scale", None) is not None:
            return  # a fused step takes the scale off by itself: what the gradients are is not known here
        with shield.shielded(OFF), torch.no_grad():
            repeating = self._repeating()
            if not repeating:
                self._updates += 1
                self._decided[id(optimizer)] = self._decide(optimizer)
            skipped, share = self._decided.get(id(optimizer), (False, 1.0))
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            if skipped:
                self._hidden[id(optimizer)] = [(one, one.grad) for one in parameters]
                for one in parameters:
                    one.grad = None
                return
            gradients = [one.grad for one in parameters if one.grad is not None]
            if share != 1.0 and gradients:
                torch._foreach_mul_(gradients, share)
            if "clip-by-weight" in self._on and self._clip_by_weight(parameters) and not repeating:
                self._note("clip-by-weight")
            if "clip-update" in self._on:
                self._before[id(optimizer)] = [
                    (one, one.detach().clone(), float(group["lr"])) for group in optimizer.param_groups if "lr" in group
                    for one in group["params"] if one.grad is not None
                ]

    def _after_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        for parameter, gradient in self._hidden.pop(id(optimizer), ()):
            parameter.grad = gradient
        before = self._before.pop(id(optimizer), ())
        with shield.shielded(OFF), torch.no_grad():
            if _clip_update(before, self._policies.by_rate) and not self._repeating():
                self._note("clip-update")

    def _decide(self, optimizer: Optimizer) -> tuple[bool, float]:
        """Whether the update is left out, and what its gradients are multiplied with."""
        if "skip-spikes" in self._on and self._is_spike():
            self._note("skip-spikes")
            return True, 1.0
        if "clip-outliers" not in self._on:
            return False, 1.0
        gradients = [one.grad for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        dense = [one for one in gradients if not one.is_sparse]
        if not dense:
            return False, 1.0
        norm = float(torch.linalg.vector_norm(torch.stack([one.float() for one in torch._foreach_norm(dense)])))
        limit = self._policies.limit(id(optimizer), norm)
        if limit is None or norm <= 0.0:
            return False, 1.0
        self._note("clip-outliers")
        return False, limit / norm

    def _is_spike(self) -> bool:
        """The verdict on the loss of this step; optimizers that take turns in it share it."""
        number = self._number()
        if self._latest_loss[0] != number:
            loss = self._loss()
            self._latest_loss = number, loss is not None and self._policies.skips(loss)
        return self._latest_loss[1]

    def _clip_by_weight(self, parameters: Iterable[Tensor]) -> bool:
        clipped = False
        for one in parameters:
            if one.grad is None or one.grad.is_sparse:
                continue
            limit = self._policies.by_weight * max(float(torch.linalg.vector_norm(one)), self._policies.least_weight)
            norm = float(torch.linalg.vector_norm(one.grad))
            if math.isfinite(norm) and norm > limit:
                one.grad.mul_(limit / norm)
                clipped = True
        return clipped

    def _note(self, name: str) -> None:
        self._counts[name] += 1
        self._first.setdefault(name, self._number())


def _clip_update(before: Iterable[tuple[Tensor, Tensor, float]], share: float) -> bool:
    """Make updates no larger than `share` of their rate. **Returns** True if one was."""
    clipped = False
    for parameter, was, rate in before:
        change = parameter - was
        size = float(torch.linalg.vector_norm(change)) / math.sqrt(max(change.numel(), 1))
        if math.isfinite(size) and size > share * rate > 0.0:
            parameter.copy_(was + change * (share * rate / size))
            clipped = True
    return clipped

