"""What a line takes out of the graph of autograd stays in it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from stayfinite.frameworks.torch.interventions.performing import Calls, Given, Performer
from stayfinite.records.intervention import Joined


class Rejoined(Performer):
    """Performs `Joined`: ``detach`` and ``.data`` give what they were asked of."""

    def __init__(self, intervention: Joined, given: Given) -> None:
        super().__init__()
        self._place = intervention.place
        self._given = given

    def entered(self) -> AbstractContextManager[Any]:
        return Calls(self)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What stands for `function(*args, **kwargs)`."""
        if not _detaches(function) or not args or not isinstance(args[0], Tensor) or not args[0].requires_grad:
            return function(*args, **kwargs)
        spot = self._given.frames.spot(sys._getframe(2), False)
        here = self._given.frames.location(spot) if spot.code is not None else None
        if here is None or (here.file, here.line) != (self._place.file, self._place.line):
            return function(*args, **kwargs)
        self.applied += 1
        return args[0].view_as(args[0])


_DATA_GETTER: Any = Tensor.data.__get__  # type: ignore[attr-defined]


def _detaches(function: Any) -> bool:
    return function is Tensor.detach or function == _DATA_GETTER
