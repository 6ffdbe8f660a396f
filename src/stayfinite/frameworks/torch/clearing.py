"""Which gradients live across steps: whether any do, and whose were not cleared between two updates."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.rewrite.project import is_user_file

_DEEP = 60
"""Frames that are looked at, from the inside out."""


def clear(parameters: Iterable[Tensor], *, zeroes: bool) -> None:
    """Take the gradients away, or fill them with zeros where there are any."""
    for parameter in parameters:
        if zeroes and parameter.grad is not None and not parameter.grad.is_sparse:
            parameter.grad.detach().zero_()
        else:
            parameter.grad = None


class Clearing:
    """The clearing calls of one session. Per step this costs a few entries of dictionaries. `locate`: the line of the user's
    code that is running, asked for once for each optimizer."""

    def __init__(self, locate: Callable[[], Location] = lambda: UNKNOWN_LOCATION) -> None:
        self.wiped = True
        """No gradients are alive: cleared since the last step, or never made."""
        self.zeroes = False
        """They are cleared by filling them with zeros, and are there at the start of a step."""
        self.alive = False
        """Learned: this script lets gradients live across steps."""
        self._owed: weakref.WeakKeyDictionary[Optimizer, _Use] = weakref.WeakKeyDictionary()
        """Optimizers whose gradients were used and not cleared by a call since."""
        self._cleared: weakref.WeakKeyDictionary[Optimizer, Location] = weakref.WeakKeyDictionary()
        """Where each was cleared first."""
        self._asked_by: weakref.WeakKeyDictionary[Optimizer, frozenset[tuple[str, str]]] = weakref.WeakKeyDictionary()
        """File and function of the lines that led there."""
        self._stale_at: weakref.WeakKeyDictionary[Optimizer, Location] = weakref.WeakKeyDictionary()
        """Where each took the first update that was made from gradients of two steps."""
        self._locate = locate

    def cleared(self, subject: object, *, to_none: bool) -> None:
        """`subject` was asked to clear its gradients. A module may hold those of any optimizer; where it holds none, as a copy for
        evaluation does, nothing was cleared."""
        concerned = [subject] if isinstance(subject, Optimizer) else [one for one in self._owed if _holds(subject, one)]
        if self._owed and not concerned:
            return
        self.wiped, self.zeroes = True, not to_none
        if isinstance(subject, Optimizer):
            self._owed.pop(subject, None)
            if subject not in self._cleared:
                self._cleared[subject] = self._locate()
                self._asked_by[subject] = _running()
        else:
            for optimizer in concerned:
                del self._owed[optimizer]

    def before_backward(self, *, first: bool, none_left: Callable[[], bool]) -> None:
        """Gradients are about to be made; `first`: by the first backward pass of a step. `none_left()` says if there are none."""
        self.alive = self.alive or (first and not self.wiped and not none_left())
        self.wiped = False
        for optimizer in [o for o, use in self._owed.items() if not use.stale and _zeroed(use)]:
            del self._owed[optimizer]

    def used(self, optimizer: Optimizer) -> None:
        """`optimizer` is about to step. What was used before and is the same tensor, written since, was added to: one that
        was put there anew, or taken away, is another."""
        before = self._owed.get(optimizer)
        every = (p.grad for g in optimizer.param_groups for p in g["params"])
        gradient: Tensor | None = next((one for one in every if one is not None), None)
        known = before.gradient() if before is not None else None
        if before is not None and known is not None and id(known) == id(gradient):
            stale = before.stale or known._version != before.version
            self._owed[optimizer] = _Use(before.gradient, known._version, stale)
            self.alive = self.alive or stale
            if stale and optimizer not in self._stale_at:
                self._stale_at[optimizer] = self._locate()
        else:
            self._owed[optimizer] = _Use(weakref.ref(gradient) if gradient is not None else _nothing, _version(gradient))

    def left(self, optimizer: Optimizer) -> bool:
        """True if the update of `optimizer` asked for last was made from gradients of two steps."""
        use = self._owed.get(optimizer)
        return use is not None and use.stale

    def place(self, optimizer: Optimizer) -> Location:
        """Where the gradients of `optimizer` could have been cleared, if they were not: the line that clears those of another
        in the same function, or in one that it calls; else that of its update."""
        update = self._stale_at.get(optimizer, UNKNOWN_LOCATION)
        known = [(other, at) for other, at in self._cleared.items() if at.file]
        beside = [at for _, at in known if (at.file, at.function) == (update.file, update.function)]
        if update.function != "<module>":
            beside += [at for other, at in known if any(
                function == update.function and file.endswith(update.file) for file, function in self._asked_by.get(other, ()))]
        return next(iter(beside), update)


@dataclass(frozen=True)
class _Use:
    """The first gradient an optimizer was about to step with, and how often it had been written then. `stale`: it had been
    used for an update before."""

    gradient: Callable[[], Tensor | None]
    version: int
    stale: bool = False


def _holds(subject: object, optimizer: Optimizer) -> bool:
    """Whether a module has a parameter of `optimizer`; true of what has no parameters to ask for."""
    if not isinstance(subject, torch.nn.Module):
        return True
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return any(id(p) in known for p in subject.parameters())


def _running() -> frozenset[tuple[str, str]]:
    """File and function of the user's lines that are running."""
    frame, found = sys._getframe(1), []
    for _ in range(_DEEP):
        found.append((frame.f_code.co_filename, frame.f_code.co_qualname))
        if frame.f_back is None:
            break
        frame = frame.f_back
    return frozenset(one for one in found if is_user_file(one[0]))


def _nothing() -> None:
    return None


def _version(gradient: Tensor | None) -> int:
    return gradient._version if gradient is not None else 0


def _zeroed(use: _Use) -> bool:
    """True if that gradient was filled with zeros since, by the script's own code. On other devices nobody looks: a look waits."""
    gradient = use.gradient()
    if gradient is None or gradient._version == use.version or gradient.device.type != "cpu":
        return False
    return not bool(gradient.any()) if gradient.layout is torch.strided else False
