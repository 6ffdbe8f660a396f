"""A loss without one of its addends, or with less of it: without it its value counts 0, and no gradient comes from it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from stayfinite.frameworks.torch.interventions.matching import kinds_of
from stayfinite.frameworks.torch.interventions.performing import Calls, Given, Performer
from stayfinite.records.intervention import Term


class LeftOut(Performer):
    """Performs `Term`: the single numbers that the addend's expression gives become 0, or are weighed."""

    def __init__(self, intervention: Term, given: Given) -> None:
        super().__init__()
        self._what = intervention
        self._given = given

    def entered(self) -> AbstractContextManager[Any]:
        return Calls(self)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What stands for `function(*args, **kwargs)`."""
        result = function(*args, **kwargs)
        if not isinstance(result, Tensor) or result.numel() != 1 or not result.requires_grad or not kinds_of(function):
            return result
        if torch._C._current_graph_task_id() != -1 or not self._is_meant(function):
            return result
        self.applied += 1
        return result * self._what.weight if self._what.weight else _nothing(result)

    def _is_meant(self, function: Any) -> bool:
        spot = self._given.frames.spot(sys._getframe(3), False)
        if spot.code is None:
            return False
        here, place = self._given.frames.location(spot), self._what.place
        if (here.file, here.line) != (place.file, place.line):
            return False
        if self._what.expression and here.expression:
            return here.expression == self._what.expression
        return not place.kind or place.kind in kinds_of(function) | {"sum"}


def _nothing(like: Tensor) -> Tensor:
    """A 0 that depends on a number of its own: where the addend is all there is in a loss, as before a penalty is switched on, the
    backward pass still runs, and brings no gradient to anything."""
    return torch.zeros_like(like).requires_grad_() * 1.0
