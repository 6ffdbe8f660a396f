"""What an operator is given, brought to the middle of its range: mean 0 and deviation 1, the gradient scaled along."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stayfinite.frameworks.torch.interventions.matching import operand_key
from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Given
from stayfinite.records.intervention import Scaled


class Centred(Operators):
    """Performs `Scaled`."""

    def __init__(self, intervention: Scaled, given: Given) -> None:
        super().__init__(intervention.place, given)
        self._what = intervention

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = operand_key(function, args, kwargs, self._what.place.kind, self._what.operand)
        value = args[key] if isinstance(key, int) else kwargs[key] if key is not None else None
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.numel() < 2:
            return function(*args, **kwargs)
        over = _over(value) if self._what.each else None
        new = value.reshape(-1).roll(1).reshape(value.shape) if self._what.others else _centred(value, over)
        self.applied += value.numel()
        new_args = tuple(new if key == place else argument for place, argument in enumerate(args))
        return function(*new_args, **{name: new if name == key else argument for name, argument in kwargs.items()})


def _over(value: Tensor) -> tuple[int, ...]:
    """All dimensions but that of the units: the second where there are spatial ones, else the last."""
    units = 1 if value.dim() >= 4 else value.dim() - 1
    return tuple(axis for axis in range(value.dim()) if axis != units) or (0,)


def _centred(value: Tensor, over: tuple[int, ...] | None) -> Tensor:
    """Mean and deviation count as constants, so that the gradient of an element is its own, divided by the deviation."""
    with torch.no_grad():
        mean = value.mean() if over is None else value.mean(over, keepdim=True)
        spread = value.std(correction=0) if over is None else value.std(over, correction=0, keepdim=True)
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    return (value - mean) / spread
