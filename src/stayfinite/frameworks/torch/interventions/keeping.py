"""Gradients as the backward pass delivered them, whatever the step does to them before its update."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch.interventions.performing import Given, Performer
from stayfinite.records.intervention import State


class Kept(Performer):
    """Performs `State` with ``how="kept"``: what was cleared, or made smaller, is put back before an update."""

    def __init__(self, intervention: State, given: Given) -> None:
        super().__init__()
        self._parameters = [
            p for p in given.subjects.parameters
            if not intervention.names or given.subjects.parameter_names.get(id(p), "") in intervention.names
        ]
        self._delivered: dict[int, Tensor] = {}

    def entered(self) -> AbstractContextManager[Any]:
        stack = ExitStack()
        for parameter in self._parameters:
            if parameter.is_leaf and parameter.requires_grad:
                stack.callback(parameter.register_post_accumulate_grad_hook(self._note).remove)
        return stack

    def _note(self, parameter: Tensor) -> None:
        if parameter.grad is not None and parameter.grad.layout is torch.strided:
            self._delivered[id(parameter)] = parameter.grad.detach().clone()

    def before_step(self, optimizer: Optimizer) -> None:
        with torch.no_grad():
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                delivered = self._delivered.get(id(parameter))
                if delivered is not None and (parameter.grad is None or not torch.equal(parameter.grad, delivered)):
                    parameter.grad = delivered
                    self.applied += 1
