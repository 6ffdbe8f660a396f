"""Listens to a repetition of a step and says what it came to.

A repetition stops where the live step stopped: at the same update, before it or after it. Updates that the live step
had already committed in the same pass (the discriminator's, before the generator failed) are void, because their effect
is part of the state already.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

from stayfinite.engine.ports import Outcome
from stayfinite.errors import LeaveAttempt
from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.passes import Failure, Loss, fingerprint, shown
from stayfinite.records.incident import ExceptionInfo

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.interventions.performing import Performer
    from stayfinite.frameworks.torch.tracing.tracer import Tracer


class Repeat:
    """The watcher of one repetition (`sensors.Watcher`).

    **Arguments**

    - `failure`: why the live step failed; None when a healthy step is repeated.
    - `stop_at`: how many updates of the window are asked for before the one that failed; repetitions end there.
    - `void`: updates before `stop_at` are part of the state already and are not taken again.
    - `performer`: what is changed in an experiment.
    """

    def __init__(
        self, failure: Failure | None, stop_at: int, *, void: bool, tracer: Tracer | None, name: Callable[[Tensor], str],
        performer: Performer | None = None,
    ) -> None:
        self.in_backward = 0
        self._failure = failure
        self._stop_at = stop_at
        self._void = void
        self._tracer = tracer
        self._name = name
        self._performer = performer
        self._losses: list[Loss] = []
        self._norms: list[float] = []
        self._bad: tuple[str, ...] = ()
        self._asked = 0
        self._originals: list[tuple[Tensor, Tensor]] = []
        self._scaling: set[int] = set()
        self._hidden: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._exception: ExceptionInfo | None = None
        self._started = time.monotonic()
        self.unrepeatable: str | None = None

    # -- listening -----------------------------------------------------------------------------------------------

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        self.in_backward += 1
        for root in roots:
            original = next((value for scaled, value in self._originals if scaled is root), root)
            if self._tracer is not None:
                self._tracer.note_loss(root)
            value = original.detach()
            value = value.abs() if value.is_complex() else value
            number = float(value.item() if value.numel() == 1 else value.float().sum().item())
            self._losses.append(Loss(f"loss[{len(self._losses)}]", number))

    def after_backward(self) -> None:
        self.in_backward -= 1

    def after_scale(self, original: object, scaled: object, scaler: Any) -> None:
        if isinstance(original, Tensor) and isinstance(scaled, Tensor):
            self._originals.append((scaled, original.detach()))

    def before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._performer is None:
            self._look_before(optimizer, args, kwargs)
            return
        self._performer.before_step(optimizer)
        try:
            self._look_before(optimizer, args, kwargs)
        except LeaveAttempt:
            self._performer.after_step(optimizer)
            raise

    def _look_before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if id(optimizer) not in self._scaling:
            self._asked += 1
        if self._tracer is not None:
            self._tracer.note_update(optimizer, taken=False)
        closure = hold.closure_of(args, kwargs)
        if not closure:
            self._look_at_gradients(optimizer)
        if not all(map(math.isfinite, hold.rates(optimizer))):
            self._bad = (*self._bad, "learning rate")
        if self._failure is not None:
            if self._asked > self._stop_at:
                if self._failure.at != "after step" and not self._failure.committed:
                    raise LeaveAttempt("repeated as far as the live step went")
            elif self._void and not closure:
                self._hide(optimizer)

    def _look_at_gradients(self, optimizer: Optimizer) -> None:
        self._norms.append(hold.norm(hold.gradients(optimizer)))
        if not self._norms[-1] < math.inf:
            self._bad = tuple(hold.nonfinite(
                (self._name(p), p.grad) for g in optimizer.param_groups for p in g["params"] if p.grad is not None
            ))[:10]

    def _hide(self, optimizer: Optimizer) -> None:
        """Every optimizer of torch passes over parameters without a gradient: their step changes nothing."""
        hidden = [(p, p.grad) for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        for parameter, _ in hidden:
            parameter.grad = None
        self._hidden[id(optimizer)] = hidden

    def after_step(self, optimizer: Optimizer) -> None:
        if self._performer is not None:
            self._performer.after_step(optimizer)
        for parameter, gradient in self._hidden.pop(id(optimizer), ()):
            parameter.grad = gradient
        if self._tracer is not None:
            self._tracer.note_update(optimizer, taken=True)
        failure = self._failure
        if failure is not None and failure.at == "after step" and self._asked > self._stop_at:
            tensors = [(self._name(p), p.detach()) for g in optimizer.param_groups for p in g["params"]]
            self._bad = tuple(hold.nonfinite([*tensors, *hold.state_tensors(optimizer)]))[:10]
            raise LeaveAttempt("repeated as far as the live step went")

    def before_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        if not scaler.is_enabled():
            return
        self._asked += 1
        self._scaling.add(id(optimizer))
        if self._failure is not None and self._asked > self._stop_at and self._failure.at == "scaler":
            if self._failure.detector == "nonfinite-gradient":
                self._look_at_gradients(optimizer)
            raise LeaveAttempt("repeated as far as the live step went")

    def after_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        self._scaling.discard(id(optimizer))

    def note_exception(self, error: BaseException, info: ExceptionInfo) -> None:
        """The repetition ended in an exception of the user's."""
        self._exception = info
        if self._tracer is not None:
            self._tracer.note_exception(error)

    def note_found(self, value: Tensor | float) -> None:
        """A non-finite number the step left in a variable without differentiating it: what its own test found."""
        if isinstance(value, Tensor):
            if self._tracer is not None:
                self._tracer.note_loss(value)
            value = float(value.detach().item())
        self._losses.append(Loss(f"loss[{len(self._losses)}]", value))

    def note_state(self, tensors: Sequence[Tensor], made: Sequence[tuple[str, Tensor]] = ()) -> None:
        """The repetition ended; its parameters and buffers are looked at, and those it `made` anew."""
        named = [(self._name(tensor), tensor.detach()) for tensor in tensors]
        self._bad = tuple(hold.nonfinite([*named, *((name, tensor.detach()) for name, tensor in made)]))[:10]
        if self._tracer is not None:
            self._tracer.note_made(made)

    @property
    def numbers(self) -> tuple[float, ...]:
        """The losses so far."""
        return tuple(loss.value for loss in self._losses)

    @property
    def is_bad(self) -> bool:
        """True if a loss or a gradient was not finite, or an exception ended the step."""
        losses = any(not math.isfinite(loss.value) for loss in self._losses)
        return losses or bool(self._bad) or self._exception is not None or any(not value < math.inf for value in self._norms)

    @property
    def is_over(self) -> bool:
        """True if no further step follows from this one: a loss or a gradient has bad elements, or an exception ended it. A norm
        alone may overflow."""
        return bool(self._bad) or self._exception is not None or any(not math.isfinite(loss.value) for loss in self._losses)

    def outcome(self) -> Outcome:
        """What the repetition came to."""
        names = (*self._bad, self._exception.type) if self._exception else self._bad
        return Outcome(
            failed=self.is_bad,
            fingerprint=fingerprint(self._losses, self._norms, names),
            losses=shown(self._losses),
            trace=self._tracer.finish() if self._tracer is not None else None,
            survey=self._tracer.survey if self._tracer is not None else None,
            exception=self._exception,
            unrepeatable=self.unrepeatable,
            seconds=time.monotonic() - self._started,
        )

    # -- not listened to -----------------------------------------------------------------------------------------

    def after_gradients(self) -> None:
        """Nothing to learn in a repetition."""

    def after_zero_grad(self, subject: object, to_none: bool) -> None:
        if self._tracer is not None:
            self._tracer.note_cleared()

    def before_clip(self, parameters: Sequence[Tensor], limit: float | None) -> None:
        """Nothing to learn in a repetition."""

    def after_clip(self, limit: float | None, norm: object) -> None:
        if isinstance(norm, Tensor):
            self._norms.append(float(norm.item()))

    def autocast_entered(self, dtype: str) -> None:
        """Nothing to learn in a repetition."""

    def after_unscale(self) -> None:
        """Nothing to learn in a repetition."""

    def scaler_made(self, scaler: Any) -> None:
        """Nothing to learn in a repetition."""

    def compiled(self) -> None:
        """Nothing to learn in a repetition."""

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """Nothing to learn in a repetition."""

    def scheduler_made(self, scheduler: object) -> None:
        """Nothing to learn in a repetition."""

    def optimizer_restored(self, optimizer: Optimizer) -> None:
        """Nothing to learn in a repetition."""

    def state_loaded(self, source: str) -> None:
        """Nothing to learn in a repetition."""

    def state_saved(self, *, asked: bool) -> None:
        """Nothing to learn in a repetition."""
