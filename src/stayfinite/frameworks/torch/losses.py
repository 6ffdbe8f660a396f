"""The numbers that are differentiated: read at once, or collected on their device until the step is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from stayfinite.engine.ports import Readings
from stayfinite.frameworks.torch.passes import Loss, Pass


class Losses:
    """The losses since the last step. `defers(tensor)` says whether reading a number would wait for a device."""

    def __init__(self, readings: Readings, defers: Callable[[Tensor], bool]) -> None:
        self._readings = readings
        self._defers = defers
        self.outside: list[Loss] = []
        """Those made outside any block."""
        self._unread: list[Loss] = []
        self._scaled: list[tuple[Tensor, Tensor]] = []
        """(scaled, original) pairs a gradient scaler made outside any block."""

    def forget(self) -> None:
        """The step they were for is over."""
        for finished in (self.outside, self._unread, self._scaled):
            finished.clear()

    def note_scaled(self, original: Tensor, scaled: Tensor, here: Pass | None) -> None:
        """A gradient scaler multiplied `original`."""
        (here.originals if here is not None else self._scaled).append((scaled, original.detach()))

    def note(self, roots: Sequence[Tensor], step: int, here: Pass | None, alone: bool = False) -> None:
        """`roots` are about to be differentiated for update number `step`. `alone`: there is one optimizer. What it takes several
        updates with in one pass, as in a comprehension over batches, is one loss, and not many that belong together."""
        losses = here.losses if here is not None else self.outside
        for root in roots:
            number = sum(one.step == step for one in losses) if alone else len(losses)
            loss = Loss(f"loss[{number}]" if number else "loss", self._value(root, here), step)
            losses.append(loss)
            if loss.tensor is not None:
                self._unread.append(loss)
            self.tell(loss)

    def tell(self, loss: Loss) -> None:
        """Put a loss among the readings once its number is known."""
        if loss.tensor is None and not loss.told:
            loss.told = True
            self._readings.read(loss.series, loss.step, loss.value)

    def unread(self) -> list[Loss]:
        """Those whose number is on a device still."""
        for loss in self._unread:
            self.tell(loss)  # somebody asked for its value meanwhile
        self._unread = [loss for loss in self._unread if loss.tensor is not None]
        return list(self._unread)

    def settle(self, losses: Sequence[Loss], numbers: Sequence[float]) -> None:
        """The numbers of `losses` have arrived."""
        for loss, number in zip(losses, numbers, strict=True):
            loss.settle(number)
            self.tell(loss)

    def _value(self, root: Tensor, here: Pass | None) -> float | Tensor:
        """The number behind a root: the loss before scaling, the sum of a root with several elements. A copy on the device
        where reading it would wait."""
        for scaled, original in here.originals if here is not None else self._scaled:
            if scaled is root:
                root = original
                break
        value = root.detach()
        if value.is_complex():
            value = value.abs()
        if value.numel() != 1:
            value = value.float().sum()
        if self._defers(value):
            return value.double().clone().reshape(())  # the script may go on to change its loss in place
        return float(value.item())
