"""The numbers updates have, and the names of the series that are read once per update."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from torch.optim import Optimizer

from stayfinite.engine.ports import Readings
from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.clipping import Clip
from stayfinite.records.finding import Warning

A_TRAINING = 10
"""Gradients from which a script without an update is likely to train: one that looks at slopes once or twice does not."""


class Updates:
    """Counts the updates of one training. Each optimizer counts its own, from 0."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self.of: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        """The number of each optimizer's latest update, in the order of their first ones."""
        self.last = -1
        """The highest number so far."""
        self.rounds = 0
        """Updates in all trainings of the run. Those of optimizers that take turns are one."""
        self._round: set[int] = set()
        self.seen = 0
        """Updates of which a loss or the parameters were seen, in all trainings of the run."""
        self.loose_gradients = 0
        """Gradients that belong to no update that was seen, made by `torch.autograd.grad` or `torch.func`."""

    @property
    def coming(self) -> int:
        """The number the coming update will have."""
        return self.last + 1

    def of_run(self, step: int) -> int:
        """A step near the latest one, counted over all trainings of the run."""
        return max(0, self.rounds + step - self.coming)

    def unseen(self) -> list[Warning]:
        """What to say of a script that computed gradients all the time and never took an update we could see."""
        if self.seen or self.loose_gradients < A_TRAINING:
            return []
        return [Warning("no-update-seen", f"gradients were computed {self.loose_gradients} times, as `torch.func` and "
                        "`torch.autograd.grad` do, but no update was seen: if this was a training, it was not watched; one whose "
                        "gradients come from `loss.backward()` or whose updates an optimizer of torch takes is")]

    def count_by_hand(self, *, seen: bool = True) -> int:
        """Updates by hand are counted by passes that made gradients; returns the number of this one. `seen`: it had a loss that we
        read, or wrote parameters that we know."""
        if seen:
            self.seen += 1
        else:
            self.loose_gradients += 1
        self.last += 1
        self.rounds += 1
        return self.last

    def count(self, optimizer: Optimizer) -> int:
        """`optimizer` is about to step: returns the number of the update, and reads the rates it is made with."""
        number = self.of[optimizer] = self.of.get(optimizer, -1) + 1
        self.seen += 1
        self.last = max(self.last, number)
        if id(optimizer) in self._round or not self._round:
            self._round.clear()
            self.rounds += 1
        self._round.add(id(optimizer))
        groups = 0
        for one in self.of:
            if one is optimizer:
                break
            groups += len(one.param_groups)
        for group, rate in enumerate(hold.rates(optimizer), groups):
            self._readings.read(f"learning_rate{_suffix(group)}", number, rate)
        return number

    def read_gradient(self, optimizer: Optimizer, number: int, norm: float, clip: Clip | None) -> bool:
        """Read the norm of the gradients `optimizer` is about to use, and by how much clipping scaled them. **Returns** True if
        a finite detector fired."""
        fired = self._readings.read(self.gradient_series(optimizer), number, clip.norm if clip is not None else norm)
        if clip is not None and clip.limit is not None and clip.norm > 0.0:
            fired |= self._readings.read("clip_factor", number, min(1.0, clip.limit / clip.norm))
        return fired

    def gradient_series(self, optimizer: Optimizer) -> str:
        """The series of gradient norms of `optimizer`: `gradient_norm`, `gradient_norm[1]` of the second one to step."""
        return "gradient_norm" + _suffix(next((n for n, one in enumerate(self.of) if one is optimizer), 0))

    def of_loss(self, stepped: list[Optimizer], stepping: bool, alive: Iterable[Optimizer]) -> int:
        """The number of the update that a loss differentiated now is for.

        Optimizers that take turns in one pass, as those of a generator and a discriminator, share a number; so do the
        losses of a closure. `stepped`: in this pass so far; `stepping`: in the middle of an update.
        """
        taking_turns = 0 < len({id(one) for one in stepped}) == len(stepped) < len(list(alive))
        return self.last if stepping or taking_turns else self.coming


def _suffix(number: int) -> str:
    return f"[{number}]" if number else ""
