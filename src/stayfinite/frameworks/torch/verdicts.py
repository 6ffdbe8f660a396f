"""What losses, gradients, rates and updated state say of a step. Numbers in, a failure or None out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.clipping import Clip
from stayfinite.frameworks.torch.latch import Armed
from stayfinite.frameworks.torch.looks import moments as state_of
from stayfinite.frameworks.torch.passes import Failure, Loss, bad_loss
from stayfinite.records.location import Location

Name = Callable[[Tensor], str]


def of_gradients(
    optimizer: Optimizer, step: int, losses: Sequence[Loss], norm: float, clip: Clip | None, name: Name,
    locate: Callable[[], Location],
) -> Failure | None:
    """Before an update: is there a bad loss, gradient or rate? `norm` is the suspicion, elements confirm it."""
    loss = bad_loss(losses)
    if loss is None and norm < math.inf:
        bad_rates = [rate for rate in hold.rates(optimizer) if not math.isfinite(rate)]
        if bad_rates:
            return Failure(
                "nonfinite-learning-rate", step, "learning_rate", bad_rates[0], (), "before step", optimizer, location=locate()
            )
        return None
    named = [(name(p), p.grad) for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
    bad = tuple(hold.nonfinite(named))
    clipped = clip is not None and not clip.norm < math.inf
    if loss is not None:
        harmless = not bad and not clipped and hold.all_zero(gradient for _, gradient in named)
        return _loss_failure(loss, step, bad, "before step", optimizer, harmless=harmless)
    if clipped and clip is not None:
        # names would mislead: clipping by such a norm has spread the damage or wiped it out
        return Failure("nonfinite-gradient", step, "gradient_norm", clip.norm, (), "before step", optimizer)
    if bad:
        value = hold.worst(gradient for _, gradient in named)
        return Failure("nonfinite-gradient", step, "gradient_norm", value, bad[:10], "before step", optimizer)
    return None


def of_update(optimizer: Optimizer, step: int, losses: Sequence[Loss], losses_before: int, name: Name) -> Failure | None:
    """After an update over an undo copy: are parameters and moments finite? `losses_before`: how many of `losses` were made
    before the step, the others by its closure."""
    tensors = [p for group in optimizer.param_groups for p in group["params"]]
    moments = state_of(optimizer, name)
    names: tuple[str, ...] = ()
    series, value = "parameter", math.nan
    if not hold.norm([t.detach() for t in tensors]) < math.inf:
        names = tuple(hold.nonfinite((name(p), p.detach()) for p in tensors))
        value = hold.worst(tensors)
    if not names and not hold.norm([t for _, t in moments]) < math.inf:
        names = tuple(hold.nonfinite(moments))
        series, value = "moment", hold.worst(t for _, t in moments)
    loss = bad_loss(losses)
    if loss is not None and (names or bad_loss(losses[losses_before : losses_before + 1]) is not None):
        # a closure is first called where the parameters are; a search may try points where the loss is infinite
        grads = hold.gradients(optimizer)
        harmless = not names and hold.norm(grads) < math.inf and hold.all_zero(grads)
        return _loss_failure(loss, step, names, "after step", optimizer, harmless=harmless)
    return Failure(f"nonfinite-{series}", step, series, value, names[:10], "after step", optimizer) if names else None


def of_scaled(optimizer: Optimizer, step: int, losses: Sequence[Loss]) -> Failure | None:
    """Before a scaler's step: a loss that is bad before scaling is no calibration."""
    loss = bad_loss(losses)
    if loss is None:
        return None
    grads = hold.gradients(optimizer)
    harmless = hold.norm(grads) < math.inf and hold.all_zero(grads)
    return _loss_failure(loss, step, (), "scaler", optimizer, harmless=harmless)


def of_latched(armed: Armed, asked_since: int) -> Failure:
    """A step whose flag was up, or whose loss was bad without harm, seen `asked_since` updates later."""
    loss = armed.bad_loss
    if loss is not None:
        failure = _loss_failure(loss, armed.step, (), "before step", armed.optimizer, harmless=not armed.bad)
    else:
        failure = Failure("nonfinite-gradient", armed.step, "gradient_norm", armed.norm, (), "before step", armed.optimizer)
    failure.latched, failure.late = True, asked_since
    failure.window, failure.asked = armed.window, armed.asked
    return failure


def of_state(optimizer: Optimizer, step: int, norm: float, name: Name) -> Failure | None:
    """Did finite gradients of a suspicious `norm` spoil parameters or moments, in steps that were not watched over?"""
    failure = of_update(optimizer, step, (), 0, name)
    if failure is not None:
        failure.at, failure.held = "end", False
        failure.hold_note = f"gradients of norm {norm:.3g} overflowed the update; the flag on the device stops only non-finite ones"
    return failure


def _loss_failure(loss: Loss, step: int, names: Sequence[str], at: str, optimizer: Optimizer, *, harmless: bool) -> Failure:
    return Failure(
        "nonfinite-loss", step, loss.series, loss.value, tuple(names)[:10], at, optimizer,  # type: ignore[arg-type]
        committed=harmless, harmless=harmless,
    )
