"""Gradients that come back through one line, kept from growing: what is left of a step if no call there enlarges them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Given
from stayfinite.records.intervention import Damped


class Bounded(Operators):
    """Performs `Damped`. `applied` counts the calls through which a gradient came."""

    def __init__(self, intervention: Damped, given: Given) -> None:
        super().__init__(intervention.place, given)
        self._limit = intervention.limit

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        if not isinstance(result, Tensor) or not result.requires_grad or not torch.is_grad_enabled():
            return result
        alias = result.view_as(result)  # the result itself may be a saved output, or written in place later
        alias.register_hook(self._bounded)
        return alias

    def _bounded(self, gradient: Tensor) -> Tensor:
        self.applied += 1
        if gradient.layout is not torch.strided or not gradient.numel():
            return gradient
        largest = gradient.detach().abs().max()
        return torch.where(largest > self._limit, gradient * (self._limit / largest), gradient)
