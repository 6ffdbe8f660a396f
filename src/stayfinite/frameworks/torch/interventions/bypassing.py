"""What stands between a value and its use, left out: an operation, or the scale of a loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from stayfinite.frameworks.torch.interventions.matching import is_in_place
from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Given, Performer
from stayfinite.frameworks.torch.scaling import at_scale
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
    """Performs `LossScale`."""

    def __init__(self, intervention: LossScale) -> None:
        super().__init__()
        self._scale = intervention.scale

    @contextmanager
    def entered(self) -> Iterator[None]:
        with at_scale(self._scale) as used:
            yield
        self.applied += len(used)
