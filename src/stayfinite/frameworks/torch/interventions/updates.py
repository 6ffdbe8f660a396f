"""An update taken otherwise: at another rate, with clipped gradients, with other options, or not at all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch.interventions.performing import Given, Performer
from stayfinite.records.intervention import Update


class Otherwise(Performer):
    """Performs `Update` for the time of a step; afterwards every group has its own options again, so a schedule goes on from
    what it knows."""

    def __init__(self, intervention: Update, given: Given) -> None:
        super().__init__()
        self._what = intervention
        self._given = given
        self._before: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._hidden: list[tuple[Tensor, Tensor]] = []

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
