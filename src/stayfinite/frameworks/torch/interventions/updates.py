"""An update taken otherwise: at another rate, with clipped gradients, with other options, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch.interventions.performing import Given, Performer
from stayfinite.records.intervention import Update


class Otherwise(Performer):
    """Performs `Update` for the time of a step; afterwards every group has its own options again, so a schedule goes on from
    what it knows.

    Where a script writes its parameters itself, a rate is performed on what it wrote: of the way that a parameter went in a pass it
    keeps the share. Its gradients are clipped where they arrive, each by itself, which bounds their total norm as well.
    """

    def __init__(self, intervention: Update, given: Given) -> None:
        super().__init__()
        self._what = intervention
        self._given = given
        self._before: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._hidden: list[tuple[Tensor, Tensor]] = []
        self._by_hand = given.window.by_hand and intervention.optimizer < 0 and not intervention.options
        self._share = 0.0 if intervention.skipped else intervention.rate
        self._written: list[tuple[Tensor, Tensor, int]] = []
        """Parameters with their values when the pass began, and their versions then."""

    def rebind(self, names: dict[str, Any], items: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        self._settle()
        self._look()
        return names, items

    @contextmanager
    def entered(self) -> Iterator[None]:
        if not self._by_hand:
            yield
            return
        hooks = [p.register_hook(self._clipped) for p in self._own() if self._what.clip in ("norm", "value")]
        self._look()
        try:
            yield
            self._settle()
        finally:
            for hook in hooks:
                hook.remove()

    def _own(self) -> list[Tensor]:
        """The parameters that the script writes itself."""
        return [p for p in self._given.subjects.parameters if p.is_leaf and p.requires_grad]

    def _look(self) -> None:
        if self._by_hand and self._share != 1.0:
            self._written = [(p, p.detach().clone(), p._version) for p in self._own()]

    def _settle(self) -> None:
        """What was written since the pass began counts with its share."""
        for parameter, before, version in self._written:
            if parameter._version != version and parameter.shape == before.shape:
                with torch.no_grad():
                    parameter.copy_(torch.lerp(before, parameter.detach(), self._share) if self._share else before)
                self.applied += 1
        self._written = []

    def _clipped(self, gradient: Tensor) -> Tensor:
        """One gradient as it arrives."""
        self.applied += 1
        what = self._what
        if what.clip == "value":
            return gradient.clamp(-what.limit, what.limit)
        return gradient * torch.clamp(what.limit / (gradient.norm() + 1e-6), max=1.0)

    def before_step(self, optimizer: Optimizer) -> None:
        what = self._what
        known = self._given.subjects.optimizers
        if what.optimizer >= 0 and (what.optimizer >= len(known) or known[what.optimizer] is not optimizer):
            return
        self.applied += 1
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if what.skipped:
            self._hidden = [(p, p.grad) for p in parameters if p.grad is not None]
            for parameter in parameters:
                parameter.grad = None
            return
        for group in optimizer.param_groups:
            asked = {name: value for name, value in what.options if name in group}
            if what.rate != 1.0 and "lr" in group:
                asked["lr"] = group["lr"] * what.rate
            self._before.append((group, {name: group[name] for name in asked}))
            group.update(asked)
        if what.clip == "norm":
            torch.nn.utils.clip_grad_norm_(parameters, what.limit)
        elif what.clip == "value":
            torch.nn.utils.clip_grad_value_(parameters, what.limit)
        elif what.clip == "adaptive":
            for parameter in parameters:
                _clip_to_share(parameter, what.limit)

    def after_step(self, optimizer: Optimizer) -> None:
        for group, options in self._before:
            group.update(options)
        for parameter, gradient in self._hidden:
            parameter.grad = gradient
        self._before, self._hidden = [], []


def _clip_to_share(parameter: Tensor, share: float) -> None:
    """Adaptive gradient clipping (Brock et al. 2021, arXiv:2102.06171, section 4): the norm of each unit's gradient is at most
    `share` of the norm of its weights, which count as at least 1e-3."""
    gradient = parameter.grad
    assert gradient is not None
    over = tuple(range(1, parameter.dim()))
    with torch.no_grad():
        size = parameter.norm(dim=over, keepdim=True) if over else parameter.abs()
        norm = gradient.norm(dim=over, keepdim=True) if over else gradient.abs()
        most = size.clamp(min=1e-3) * share
        gradient.mul_(torch.where(norm > most, most / norm.clamp(min=1e-6), 1.0))
