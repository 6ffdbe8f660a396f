"""What stands between a value and its use, left out: an operation, or the scale of a loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from stayfinite.frameworks.torch.interventions.matching import is_in_place
from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Calls, Given, Performer, begins_backward
from stayfinite.frameworks.torch.scaling import at_scale, scale_by_hand
from stayfinite.records.intervention import Bypassed, LossScale


class LeftAside(Operators):
    """Performs `Bypassed`, where the operation gives as much as it is given."""

    def __init__(self, intervention: Bypassed, given: Given) -> None:
        super().__init__(intervention.place, given)

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        plain = self.plain(function, args, kwargs)
        given = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor) and one.is_floating_point()]
        fitting = [one for one in given if isinstance(plain, Tensor) and one.shape == plain.shape]
        if not fitting:
            return function(*args, **kwargs)
        self.applied += 1
        passed = next((one for one in fitting if one.requires_grad), fitting[0])
        self.compare(plain, passed)
        return passed if is_in_place(function) else passed.to(plain.dtype)


class Rescaled(Performer):
    """Performs `LossScale`, of scalers and of a constant that the script itself multiplies its loss with. Other constants stay: they may
    divide by a number of micro-batches."""

    def __init__(self, intervention: LossScale) -> None:
        super().__init__()
        self._scale = intervention.scale

    @contextmanager
    def entered(self) -> Iterator[None]:
        with at_scale(self._scale) as used, Calls(self):
            yield
        self.applied += len(used)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`function(*args, **kwargs)`; a backward pass begins with less where its loss carries a scale."""
        loss = args[0] if len(args) == 1 and begins_backward(function) and kwargs.get("gradient") is None else None
        if isinstance(loss, Tensor) and loss.numel() == 1:
            scale = scale_by_hand(loss)
            if scale > 1.0:
                self.applied += 1
                kwargs = {**kwargs, "gradient": torch.full_like(loss, self._scale / scale)}
        return function(*args, **kwargs)
