"""What gradient clipping found before it wrote: clipping destroys evidence.

Clipping by an infinite norm zeroes every finite gradient, by a NaN it makes all of them NaN, and clipping by value turns
infinities into ordinary numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.latch import device_norm


@dataclass(frozen=True)
class Clip:
    """Clipping since the last step: its limit (None if by value), the largest norm found, parameters covered."""

    limit: float | None
    norm: float
    covered: int


class Clipping:
    """The clipping calls since the last step. `defers(tensor)` says whether reading a number would wait for a device."""

    def __init__(self, defers: Callable[[Tensor], bool]) -> None:
        self._defers = defers
        self._count = 0
        self.clip: Clip | None = None
        self.last: Clip | None = None
        """The calls of the last step that had any."""
        self.forget()

    def forget(self) -> None:
        """The step they were for is over."""
        self.last = self.clip or self.last
        self.clip = None
        self.pending: list[tuple[float | None, Tensor, int]] = []
        """Limit, norm and parameters covered of calls whose norm has not been read."""

    def begin(self, parameters: Sequence[Tensor], limit: float | None) -> None:
        """A call begins; `limit` is None for clipping by value, which returns no norm: it is taken here."""
        self._count = len(parameters)
        if limit is None:
            grads = [p.grad for p in parameters if p.grad is not None]
            if grads and self._defers(grads[0]):
                self.pending.append((None, device_norm(grads, grads[0].device), self._count))
            else:
                self._note(None, hold.norm(grads), self._count)

    def end(self, limit: float, norm: Tensor) -> None:
        """A call by norm returned the norm it found."""
        if self._defers(norm):
            self.pending.append((limit, norm.detach().clone(), self._count))
        else:
            self._note(limit, float(norm.item()), self._count)

    def settle(self, norms: Sequence[float]) -> None:
        """The norms of the pending calls have arrived, in order."""
        for (limit, _, covered), norm in zip(self.pending, norms, strict=True):
            self._note(limit, norm, covered)
        self.pending.clear()

    def covers(self, gradients: int) -> bool:
        """True if clipping by norm has read as many gradients as the step will use."""
        clips = [(self.clip.limit, self.clip.covered)] if self.clip is not None else []
        clips += [(limit, covered) for limit, _, covered in self.pending]
        return bool(clips) and clips[-1][0] is not None and sum(covered for _, covered in clips) >= gradients

    def _note(self, limit: float | None, norm: float, covered: int) -> None:
        before = self.clip
        worst = norm if before is None or not before.norm > norm else before.norm
        self.clip = Clip(limit, worst, covered + (before.covered if before is not None else 0))
