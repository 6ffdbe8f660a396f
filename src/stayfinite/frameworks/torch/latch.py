"""Holds the steps of fused optimizers without waiting for the device.

The fused kernels of SGD, Adam, AdamW and Adagrad read a tensor `found_inf` before they write anything, and return at
once if it is exactly 1. A step is judged on the device, the verdict is joined to a flag that stays up, and the optimizer
is handed that flag: from the first bad step on no step changes parameters, moments or counters, although the script runs
on. The host learns of it `LAG` steps later, from a copy that has long arrived, and never empties the queue.

    step t:  look at the copy of step t-LAG;  flag = max(flag, bad(loss, gradients));  found_inf = max(flag, the scaler's)

What the host side of a step writes meanwhile (batch statistics, rates, schedulers, a scaler) is put back from the
captures of the bad step's window, which the ring keeps.

**Run**: on the CPU build, where the same kernels exist (``STAYFINITE_LATCH=1`` latches there as well): parameters,
moments and counters compare bit for bit. **Not run**: on a GPU. That a pinned copy and its event arrive in order, and that
reading an old event does not wait for the queue, is from CUDA's documentation; what it costs there is not measured.
``STAYFINITE_LATCH=0`` waits for the device before each step instead.
"""

from __future__ import annotations

import collections
import math
import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch.passes import Loss, Window

LAG = 2
"""Steps between a step and the look at its verdict: one that is running, one that is queued."""
_KINDS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad)
_BESIDE = 2
"""Numbers of a step beside norms of clipping and losses: the flag and the gradient norm."""
_ROOM = 16


def setting() -> str:
    """What the environment wants: ``"0"`` never latch, ``"1"`` also on the CPU, ``""`` where it pays."""
    return os.environ.get("STAYFINITE_LATCH", "")


def fused_device(optimizer: Optimizer, *, anywhere: bool) -> torch.device | None:
    """The one device that all parameters of `optimizer` are on if a fused kernel updates them, else None. CUDA only,
    unless `anywhere`."""
    if type(optimizer) not in _KINDS or not all(group.get("fused") for group in optimizer.param_groups):
        return None
    if any(isinstance(group["lr"], Tensor) for group in optimizer.param_groups):
        return None  # a rate on the device cannot be judged without waiting
    devices = {p.device for group in optimizer.param_groups for p in group["params"]}
    if len(devices) != 1:
        return None
    (device,) = devices
    return device if device.type == "cuda" or anywhere else None


def device_norm(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """A float64 number on `device` that is NaN or infinite exactly if an element of `tensors` is: their L2 norm.

    Squares of float32 values cannot overflow float64. For float64 values it is the largest magnitude instead.
    """
    parts: list[Tensor] = []
    with torch.no_grad():
        alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            values = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
            if values.numel():
                alike.setdefault((values.dtype, values.device), []).append(values)
        for (dtype, _), group in alike.items():
            order = math.inf if dtype is torch.float64 else 2.0
            norms = torch._foreach_norm(group, order, dtype=torch.float64)
            parts += [norm.to(device, non_blocking=True) for norm in norms]
        if not parts:
            return torch.zeros((), dtype=torch.float64, device=device)
        return torch.linalg.vector_norm(torch.stack(parts))


def read_together(scalars: Sequence[Tensor], tensors: Sequence[Tensor]) -> tuple[list[float], float]:
    """The values of `scalars` and the norm of `tensors` (as `device_norm` gives it) with a single wait for the device."""
    device = tensors[0].device if tensors else scalars[0].device
    with torch.no_grad():
        everything = [scalar.detach().to(device, torch.float64, non_blocking=True).reshape(()) for scalar in scalars]
        numbers = torch.stack([*everything, device_norm(tensors, device)]).tolist()
    return numbers[:-1], numbers[-1]


@dataclass(eq=False)
class Armed:
    """A step that was handed the flag. `asked`: updates asked for before it in its window. `losses` and `clips` (norms
    that clipping found) are read with it; `scaled`: a gradient scaler judges the gradients, so only the loss counts."""

    step: int
    optimizer: Optimizer
    window: Window
    asked: int
    losses: list[Loss]
    clips: list[Tensor]
    scaled: bool = False
    born: dict[Tensor, frozenset[str] | None] = field(default_factory=dict)
    """The state each parameter had before, where some had none: a step that is skipped makes state all the same."""
    host: Tensor | None = None
    event: Any = None
    bad: bool = False
    norm: float = math.nan

    @property
    def bad_loss(self) -> Loss | None:
        """The first loss that is not finite."""
        return next((loss for loss in self.losses if not math.isfinite(loss.value)), None)


class Latch:
    """The flag of one device, and the ring of steps whose verdict has not been looked at. `settled` is told of each step once
    its numbers are known."""

    def __init__(self, device: torch.device, settled: Callable[[Armed], None]) -> None:
        self.device = device
        self._settled = settled
        self._flag = torch.zeros((), dtype=torch.float32, device=device)
        self._ring: collections.deque[Armed] = collections.deque()
        self._slots: list[Tensor] = []
        self._engaged: weakref.WeakKeyDictionary[Optimizer, Tensor | None] = weakref.WeakKeyDictionary()

    # -- around a step -------------------------------------------------------------------------------------------

    def arm(self, armed: Armed, gradients: Sequence[Tensor]) -> None:
        """Judge the step on the device and hand its optimizer the flag. Nothing here waits."""
        armed.born = _state_before(armed.optimizer)
        with torch.no_grad():
            norm = device_norm(gradients, self.device) if gradients or not armed.clips else None
            losses = [loss.tensor for loss in armed.losses if loss.tensor is not None]
            others = [t.detach().to(self.device, torch.float64, non_blocking=True).reshape(()) for t in (*armed.clips, *losses)]
            clips, losses = others[: len(armed.clips)], others[len(armed.clips) :]
            norm = torch.stack(clips).max() if norm is None else norm
            wrong = ~torch.isfinite(torch.stack([norm, *clips]).sum())
            if losses:
                # a bad loss with gradients that are all zero does no harm: nothing was learned from it
                bad_loss = ~torch.isfinite(torch.stack(losses)).all() & (norm != 0)
                wrong = bad_loss if armed.scaled else wrong | bad_loss
            elif armed.scaled:
                wrong = torch.zeros_like(wrong)
            torch.maximum(self._flag, wrong.to(torch.float32), out=self._flag)
            self._send(armed, torch.stack([self._flag.double(), norm, *others]))
            found = getattr(armed.optimizer, "found_inf", None)
            # the kernels compare with exactly 1, and a scaler adds the flags of several devices up
            flag = self._flag.clone() if found is None else torch.maximum(self._flag, found.to(self.device)).clamp_(max=1.0)
        self._engaged[armed.optimizer] = found
        armed.optimizer.found_inf = flag  # type: ignore[attr-defined]
        self._ring.append(armed)

    def _send(self, armed: Armed, numbers: Tensor) -> None:
        pinned = self.device.type == "cuda"
        slot = self._slots.pop() if self._slots else torch.empty(_ROOM, dtype=torch.float64, pin_memory=pinned)
        if slot.numel() < numbers.numel():
            slot = torch.empty(2 * numbers.numel(), dtype=torch.float64, pin_memory=pinned)
        slot[: numbers.numel()].copy_(numbers, non_blocking=True)
        armed.host = slot
        if pinned:
            armed.event = torch.cuda.Event()
            armed.event.record(torch.cuda.current_stream(self.device))

    def disengage(self, optimizer: Optimizer) -> None:
        """Take the flag back from an optimizer whose step ended; a scaler finds its own attribute again."""
        if optimizer not in self._engaged:
            return
        found = self._engaged.pop(optimizer)
        if found is not None:
            optimizer.found_inf = found  # type: ignore[attr-defined]
        else:
            vars(optimizer).pop("found_inf", None)

    def disengage_all(self) -> None:
        """The same after steps that were left by an exception."""
        for optimizer in list(self._engaged):
            self.disengage(optimizer)

    # -- the verdict ---------------------------------------------------------------------------------------------

    def due(self, lag: int = LAG) -> Armed | None:
        """Look at the steps that are `lag` behind, oldest first. **Returns** the first whose flag was up or whose loss was
        bad without harm (`Armed.bad` says which), None if there is none; those before it are settled."""
        while self._ring and len(self._ring) >= lag:
            armed = self._ring.popleft()
            if armed.event is not None:
                armed.event.synchronize()
            assert armed.host is not None
            numbers = armed.host[: _BESIDE + len(armed.clips) + len(armed.losses)].tolist()
            self._slots.append(armed.host)
            armed.bad, armed.norm = numbers[0] == 1.0, numbers[1]
            clips = numbers[_BESIDE : _BESIDE + len(armed.clips)]
            if armed.clips and not armed.scaled:
                armed.norm = next((norm for norm in clips if not norm < math.inf), max(armed.norm, *clips))
            for loss, number in zip(armed.losses, numbers[_BESIDE + len(armed.clips) :], strict=True):
                loss.settle(number)
            self._settled(armed)
            if armed.bad or (armed.bad_loss is not None and armed.norm == 0):
                return armed
        return None

    def release(self, bad: Armed) -> None:
        """The first bad step is known and will be dealt with: lower the flag, forget the steps after it, and take back the
        state that skipped first steps made.

        Fused SGD makes its `momentum_buffer` before the kernel is asked and leaves it uninitialised when that returns at
        once; the next step would read it (torch 2.13, CPU kernels).
        """
        for armed in reversed([bad, *self._ring]):
            for parameter, names in armed.born.items():
                state = armed.optimizer.state
                if names is None:
                    state.pop(parameter, None)
                else:
                    for name in state[parameter].keys() - names:
                        del state[parameter][name]
            if armed is not bad and armed.host is not None:
                self._slots.append(armed.host)
        self._ring.clear()
        self.disengage_all()
        self._flag = torch.zeros_like(self._flag)  # a new one: the old may still be read by steps in the queue


def _state_before(optimizer: Optimizer) -> dict[Tensor, frozenset[str] | None]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if len(optimizer.state) >= len(parameters) or not any(group.get("momentum", 1) for group in optimizer.param_groups):
        return {}
    return {p: frozenset(optimizer.state[p]) if p in optimizer.state else None for p in parameters}
