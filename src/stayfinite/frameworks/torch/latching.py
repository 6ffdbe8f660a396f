"""Decides which steps are latched, and turns what the latch saw into failures."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.engine.ports import Readings
from stayfinite.frameworks.torch import hold, latch, verdicts
from stayfinite.frameworks.torch.clipping import Clipping
from stayfinite.frameworks.torch.latch import Armed, Latch
from stayfinite.frameworks.torch.losses import Losses
from stayfinite.frameworks.torch.passes import Failure, Window

LATCHED_RATE, LATCHED_NORM = 1e6, 1e9
"""A fused step is latched up to this learning rate, and while gradients stay below this norm; the product is
`hold.SUSPECT_NORM`. A larger update might overflow from finite gradients, which the flag does not see."""


class Latching:
    """The latch of a session. One device: optimizers on a second one are judged before their steps, waiting for it."""

    def __init__(self, readings: Readings, losses: Losses, clipping: Clipping, name: verdicts.Name) -> None:
        self.everywhere = latch.setting() == "1"
        """Collect and latch on the CPU as well, as on a device."""
        self._never = latch.setting() == "0"
        self._readings = readings
        self._name = name
        self._losses = losses
        self._clipping = clipping
        self._latch: Latch | None = None
        self._cautious: set[int] = set()
        """Optimizers whose gradients came near the size where finite ones can spoil an update."""
        self._suspect: Armed | None = None
        """The first step that showed it."""

    def device(self, optimizer: Optimizer, window: Window) -> torch.device | None:
        """The device to judge a step of `optimizer` on, None if it is judged here and now."""
        if self._never or window.parameters is not None or id(optimizer) in self._cautious:
            return None
        device = latch.fused_device(optimizer, anywhere=self.everywhere)
        if device is None or hold.unpredictable(optimizer) is not None or (self._latch and self._latch.device != device):
            return None
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return None  # losses differ between ranks: each would latch for itself
        known = [loss.value for loss in window.losses if loss.tensor is None]
        fit = all(abs(rate) <= LATCHED_RATE for rate in hold.rates(optimizer))
        return device if fit and all(map(math.isfinite, known)) else None

    def arm(self, armed: Armed, device: torch.device, gradients: list[Tensor]) -> None:
        """Hand the optimizer the flag. `seen` is to be asked first."""
        if self._latch is None:
            self._latch = Latch(device, self._settled)
        covered = armed.clips and self._clipping.covers(len(gradients))  # clipping read them a moment ago
        self._latch.arm(armed, () if covered else gradients)

    def after_step(self, optimizer: Optimizer) -> None:
        """A step ended."""
        if self._latch is not None:
            self._latch.disengage(optimizer)

    def begin_pass(self) -> None:
        """A pass begins; steps of the last one that were left by an exception are over."""
        if self._latch is not None:
            self._latch.disengage_all()

    def seen(self, last_step: int, lag: int = latch.LAG) -> Failure | None:
        """Look at the verdicts that are `lag` steps old; the first bad one as a failure. After that the flag is down."""
        if self._latch is None:
            return None
        armed = self._latch.due(lag)
        suspect, self._suspect = self._suspect, None
        if armed is None:
            return verdicts.of_state(suspect.optimizer, suspect.step, suspect.norm, self._name) if suspect is not None else None
        if armed.bad:
            self._latch.release(armed)
        return verdicts.of_latched(armed, last_step - armed.step)

    def _settled(self, armed: Armed) -> None:
        for loss in armed.losses:
            self._losses.tell(loss)
        self._readings.read("gradient_norm", armed.step, armed.norm)
        if LATCHED_NORM < armed.norm < math.inf and id(armed.optimizer) not in self._cautious:
            self._suspect = armed
            self._cautious.add(id(armed.optimizer))
