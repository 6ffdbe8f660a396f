"""Which gradients live across steps: whether any do, and whose were not cleared between two updates."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from torch.optim import Optimizer


class Clearing:
    """The clearing calls of one session. Per step this costs a few entries of dictionaries."""

    def __init__(self) -> None:
        self.wiped = True
        """No gradients are alive: cleared since the last step, or never made."""
        self.zeroes = False
        """They are cleared by filling them with zeros, and are there at the start of a step."""
        self.alive = False
        """Learned: this script lets gradients live across steps."""
        self._owed: weakref.WeakKeyDictionary[Optimizer, bool] = weakref.WeakKeyDictionary()
        """Optimizers whose gradients were used and not cleared since; True once they were used a second time."""

    def cleared(self, subject: object, *, to_none: bool) -> None:
        """`subject` was asked to clear its gradients. A module may hold those of any optimizer."""
        self.wiped, self.zeroes = True, not to_none
        if isinstance(subject, Optimizer):
            self._owed.pop(subject, None)
        else:
            self._owed.clear()

    def before_backward(self, *, first: bool, none_left: Callable[[], bool]) -> None:
        """Gradients are about to be made; `first`: by the first backward pass of a step. `none_left()` says if there are none."""
        self.alive = self.alive or (first and not self.wiped and not none_left())
        self.wiped = False

    def used(self, optimizer: Optimizer) -> None:
        """`optimizer` is about to step."""
        self._owed[optimizer] = optimizer in self._owed

    def left(self, optimizer: Optimizer) -> bool:
        """True if the update of `optimizer` asked for last was made from gradients of two steps; False where none live.

        Between two updates its gradients may have been taken away by hand, which nobody sees.
        """
        return self._owed.get(optimizer, False) if self.alive else False
