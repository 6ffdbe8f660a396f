"""Parameters of a distribution kept inside what it allows.

A distribution checks its parameters when it is made, by constraints of its own, and raises: no operator ever sees them. So they
are met where it is made, before it checks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from stayfinite.frameworks.torch.interventions.limits import Limited


class Allowed(Limited):
    """Performs `Within` for the kind ``"distribution"``: whatever the operand is called, the parameters that a constraint refuses are
    kept within the limits, and with `others` as many elements of them that it allows are moved."""

    def entered(self) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(super().entered())
        stack.enter_context(self._making())
        return stack

    @contextmanager
    def _making(self) -> Iterator[None]:
        original, owner = Distribution.__init__, self

        def init(self: Distribution, *args: Any, **kwargs: Any) -> None:
            if owner._is_here(sys._getframe(1)):
                owner._mend(self)
            original(self, *args, **kwargs)

        Distribution.__init__ = init  # type: ignore[method-assign]
        try:
            yield
        finally:
            Distribution.__init__ = original  # type: ignore[method-assign]

    def _is_here(self, frame: FrameType) -> bool:
        spot, place = self.given.frames.spot(frame, False), self.place
        if spot.code is None or place is None:
            return False
        here = self.given.frames.location(spot)
        return not place.file or (place.file, place.line) == (here.file, here.line)

    def _mend(self, made: Distribution) -> None:
        try:
            wanted = made.arg_constraints
        except NotImplementedError:
            return
        for name, constraint in wanted.items():
            value = made.__dict__.get(name)  # what is computed from another parameter when it is asked for is checked there
            if not isinstance(value, Tensor) or not value.is_floating_point() or constraints.is_dependent(constraint):
                continue
            known = self._instead(value)
            if known is not value:  # one tensor for two parameters
                setattr(made, name, known)
                continue
            with torch.no_grad():
                allowed = constraint.check(value.detach())
            if bool(allowed.all()):
                continue
            bounded, wrong = self._bounded(value)
            if wrong is not None:
                setattr(made, name, bounded)
                self.compare(value, bounded)
