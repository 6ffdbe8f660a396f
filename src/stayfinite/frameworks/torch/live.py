"""Judges the step that runs for the user.

The verdict falls before the optimizer writes: the loss is looked at when it is differentiated, the gradients when the
step is asked for. A step that cannot be committed is left by an exception that no ``except Exception`` catches, and
nothing of it has been written. Where gradients cannot tell, the step runs over an undo copy and is looked at afterwards.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from stayfinite.engine.ports import Readings
from stayfinite.errors import LeaveAttempt
from stayfinite.frameworks.torch import hold
from stayfinite.frameworks.torch.norms import Norm
from stayfinite.frameworks.torch.passes import Failure, Loss, Pass, Window
from stayfinite.frameworks.torch.state import optimizer_undo, parameter_undo
from stayfinite.records.location import Location
from stayfinite.rewrite.state import Undo


@dataclass(frozen=True)
class Clip:
    """Clipping since the last step: its limit (None if by value), the largest norm found, parameters covered."""

    limit: float | None
    norm: float
    covered: int


@dataclass(frozen=True)
class Watched:
    """A step that runs over an undo copy: what puts parameters and optimizer state back, and why it was taken.

    `losses`: how many the pass had before the step, so that those of a closure can be told; `void`: the step is known to
    be bad, and is undone whatever it comes to.
    """

    parameters: Undo
    state: Undo
    reason: str
    losses: int = 0
    void: bool = False

    def undo(self) -> None:
        """Put everything back."""
        self.parameters()
        self.state()


class Live:
    """The watcher of live steps (`sensors.Watcher`). Between passes it only counts."""

    def __init__(self, readings: Readings, locate: Callable[[], Location], name: Callable[[Tensor], str]) -> None:
        self.readings = readings
        self.current: Pass | None = None
        self.window: Window | None = None
        self.steps: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self.made: weakref.WeakKeyDictionary[Optimizer, Location] = weakref.WeakKeyDictionary()
        self.last_step = -1
        self.clip: Clip | None = None
        """The clipping calls since the last step."""
        self._clipping = 0
        self.autocast: str | None = None
        self.checkpoint: Location | None = None
        self.checkpoint_step = -1
        self.scale: float | None = None
        self.wiped = True
        """No gradients are alive: cleared since the last step, or never made."""
        self.zeroes = False
        """They are cleared by filling them with zeros, and are there at the start of a step."""
        self.alive = False
        """Learned: this script lets gradients live across steps."""
        self.exact = False
        """Passes will be compared with their repetitions: read every norm the way a repetition does."""
        self.in_backward = 0
        self.steps_in_backward = False
        self.unhooked: Callable[[Failure], None] | None = None
        """What to do about a failure outside any block."""
        self.asked: Callable[[], None] = lambda: None
        """Told when an update is asked for, before it is judged."""
        self.committed: Callable[[], None] = lambda: None
        """Told when an update was taken and is fit to stay."""
        self.training_begins: Callable[[], None] = lambda: None
        """Told when an optimizer is made: what was remembered of an earlier training can go."""
        self.unwrapped_steps = 0
        """Updates taken outside any block: held if bad, never repeated."""
        self._locate = locate
        self._name = name
        self._scaling: set[int] = set()
        self._restored: set[int] = set()
        self._norms: weakref.WeakKeyDictionary[Optimizer, Norm] = weakref.WeakKeyDictionary()
        self._in_use: list[Tensor] = []
        """The gradients of the step being taken: an optimizer that meets them alive saves what we spent on them."""
        self._pending: dict[int, Watched] = {}
        self._stepping: list[Optimizer] = []
        """Optimizers whose step has begun and not returned, outermost first."""
        self._taken = 0
        """Updates taken since the outermost backward pass began."""
        self._left_out: set[int] = set()
        """Optimizers whose scaler goes on to a step that is known to be bad."""

    def begin_pass(self, here: Pass, window: Window) -> None:
        """A pass through a block begins."""
        self.current, self.window = here, window
        for unfinished in (self._stepping, self._pending, self._scaling, self._left_out):
            unfinished.clear()

    def break_off(self, failure: Failure) -> None:
        """An exception ended the pass: a step that had begun is undone where there is a copy, else it is not held."""
        for watched in self._pending.values():
            watched.undo()
            failure.hold_note = f"undo copy of the parameters and moments: {watched.reason}"
        begun = [optimizer for optimizer in self._stepping if id(optimizer) not in self._pending]
        if self._stepping:
            failure.step = self.last_step  # it was counted when it was asked for
        if begun:
            failure.held = False
            failure.hold_note = f"the exception left {type(begun[0]).__name__} in the middle of its step"
        self._stepping.clear()
        self._pending.clear()

    # -- what a step is about to do ------------------------------------------------------------------------------

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        here = self.current
        window = self.window
        first = window is not None and not any(one.backward for one in window.passes)
        if first and not self.wiped and not self._cleared_by_hand():
            self.alive = True
        if here is not None:
            here.backward = True
        for root in roots:
            value = self._value(root)
            count = len(here.losses) if here is not None else 0
            series = "loss" if count == 0 else f"loss[{count}]"
            if here is not None:
                here.losses.append(Loss(series, value))
            self.readings.read(series, self.next_step(), value)
        self.wiped = False
        if not self.in_backward:
            self._taken = 0
        self.in_backward += 1

    def _cleared_by_hand(self) -> bool:
        optimizers = list(self.steps) or list(self.made)
        return all(p.grad is None for o in optimizers for g in o.param_groups for p in g["params"])

    def _value(self, root: Tensor) -> float:
        """The number behind a root: the loss before scaling, the sum of a root with several elements."""
        if self.current is not None:
            for scaled, original in self.current.originals:
                if scaled is root:
                    root = original
                    break
        value = root.detach()
        if value.is_complex():
            value = value.abs()
        return float(value.item() if value.numel() == 1 else value.float().sum().item())

    def after_backward(self) -> None:
        self.in_backward -= 1

    def after_gradients(self) -> None:
        if self.current is not None:
            self.current.backward = True

    def after_zero_grad(self, to_none: bool) -> None:
        self.wiped = True
        self.zeroes = not to_none

    def before_clip(self, parameters: Sequence[Tensor], limit: float | None) -> None:
        self._clipping = len(parameters)
        if limit is None:  # clipping by value turns infinities into finite numbers and returns nothing
            grads = [p.grad for p in parameters if p.grad is not None]
            self._note_clip(None, hold.norm(grads))

    def after_clip(self, limit: float | None, norm: object) -> None:
        if limit is not None and isinstance(norm, Tensor):
            self._note_clip(limit, float(norm.item()))
            if self.exact and self.current is not None:
                self.current.norms.append(float(norm.item()))

    def _note_clip(self, limit: float | None, norm: float) -> None:
        covered = self.clip.covered if self.clip is not None else 0
        worst = norm if self.clip is None or not self.clip.norm > norm else self.clip.norm
        self.clip = Clip(limit, worst, covered + self._clipping)

    def after_scale(self, original: object, scaled: object, scaler: Any) -> None:
        if self.current is not None and isinstance(original, Tensor) and isinstance(scaled, Tensor):
            self.current.originals.append((scaled, original.detach()))
        self.scale = float(scaler.get_scale()) if scaler.is_enabled() else None

    def autocast_entered(self, dtype: str) -> None:
        self.autocast = dtype.removeprefix("torch.")

    def optimizer_made(self, optimizer: Optimizer) -> None:
        self.made[optimizer] = self._locate()
        self.training_begins()

    def optimizer_restored(self, optimizer: Optimizer) -> None:
        self._restored.add(id(optimizer))

    def state_loaded(self, _source: str) -> None:
        self.checkpoint = self._locate()
        self.checkpoint_step = self.last_step + 1

    # -- the verdict ---------------------------------------------------------------------------------------------

    def next_step(self) -> int:
        """The number the coming update will have."""
        return self.last_step + 1

    def count_by_hand(self) -> int:
        """Updates by hand are counted by passes that made gradients; returns the number of this one."""
        self.last_step += 1
        return self.last_step

    def before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        scaling = id(optimizer) in self._scaling
        step = self.last_step if scaling else self._count(optimizer)
        here = self.current
        if here is not None and not scaling:
            here.stepped.append(optimizer)
        if self.in_backward:
            self.steps_in_backward = True
        self.asked()
        if id(optimizer) in self._left_out:
            self._left_out.discard(id(optimizer))
            self._watch_over(optimizer, "", void=True)
        elif hold.closure_of(args, kwargs):
            self._watch_over(optimizer, "it takes a closure: gradients are made inside the step")
        elif not _skips_by_itself(optimizer):
            self._judge_gradients(optimizer, step)
        self._stepping.append(optimizer)

    def _judge_gradients(self, optimizer: Optimizer, step: int) -> None:
        here = self.current
        norm = self._gradient_norm(optimizer)
        if self.exact and here is not None:
            here.norms.append(hold.norm(hold.gradients(optimizer)))
        self.readings.read("gradient_norm", step, self.clip.norm if self.clip is not None else norm)
        failure = self._judge(optimizer, step, norm)
        if failure is not None and failure.harmless:
            if here is not None:
                here.failure = failure
        elif failure is not None:
            self._leave(failure)
            if not failure.committed:  # outside any block, where a step cannot be left
                self._watch_over(optimizer, "", void=True)
                return
        reason = hold.unpredictable(optimizer)
        if id(optimizer) in self._restored:
            reason = reason or "its moments were loaded, and nothing is known of them yet"
        if reason is None and norm * max(1.0, *map(abs, hold.rates(optimizer)), 1.0) > hold.SUSPECT_NORM:
            reason = f"a gradient norm of {norm:.3g} may overflow the update"
        if reason is not None:
            self._watch_over(optimizer, reason)

    def _count(self, optimizer: Optimizer) -> int:
        step = self.steps.get(optimizer, -1) + 1
        self.steps[optimizer] = step
        self.last_step = max(self.last_step, step)
        for number, rate in enumerate(hold.rates(optimizer)):
            self.readings.read("learning_rate" if number == 0 else f"learning_rate[{number}]", step, rate)
        return step

    def _gradient_norm(self, optimizer: Optimizer) -> float:
        grads = self._in_use = hold.gradients(optimizer)
        clip = self.clip
        if clip is not None and not clip.norm < math.inf:
            return clip.norm
        if clip is not None and clip.limit is not None and clip.covered >= len(grads):
            return min(clip.norm, clip.limit)  # clipping read the same gradients a moment ago
        reader = self._norms.get(optimizer)
        if reader is None:
            reader = self._norms[optimizer] = Norm()
        return reader.read(grads)

    def _judge(self, optimizer: Optimizer, step: int, norm: float) -> Failure | None:
        losses = self.window.losses if self.window is not None else []
        bad_loss = next((loss for loss in losses if not math.isfinite(loss.value)), None)
        if bad_loss is None and norm < math.inf:
            bad_rates = [rate for rate in hold.rates(optimizer) if not math.isfinite(rate)]
            if bad_rates:
                return Failure(
                    "nonfinite-learning-rate", step, "learning_rate", bad_rates[0], (), "before step", optimizer,
                    location=self._locate(),
                )
            return None
        named = [(self._name(p), p.grad) for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        bad = tuple(hold.nonfinite(named))
        clipped = self.clip is not None and not self.clip.norm < math.inf
        if bad_loss is not None:
            harmless = not bad and not clipped and hold.all_zero(gradient for _, gradient in named)
            return Failure(
                "nonfinite-loss", step, bad_loss.series, bad_loss.value, bad[:10], "before step", optimizer,
                committed=harmless, harmless=harmless,
            )
        if clipped and self.clip is not None:
            # names would mislead: clipping by such a norm has spread the damage or wiped it out
            return Failure("nonfinite-gradient", step, "gradient_norm", self.clip.norm, (), "before step", optimizer)
        if bad:
            value = hold.worst(gradient for _, gradient in named)
            return Failure("nonfinite-gradient", step, "gradient_norm", value, bad[:10], "before step", optimizer)
        return None

    def _watch_over(self, optimizer: Optimizer, reason: str, *, void: bool = False) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        losses = len(self.current.losses) if self.current is not None else 0
        self._pending[id(optimizer)] = Watched(parameter_undo(parameters), optimizer_undo(optimizer), reason, losses, void)
        if self.window is not None and not self.window.reason:
            self.window.reason = reason

    def after_step(self, optimizer: Optimizer) -> None:
        self._in_use = []
        self._stepping = [one for one in self._stepping if one is not optimizer]
        watched = self._pending.pop(id(optimizer), None)
        if watched is not None and watched.void:
            watched.undo()
        elif watched is not None:
            failure = self._judge_update(optimizer, watched)
            if failure is not None and failure.harmless and self.current is not None:
                self.current.failure = failure
            elif failure is not None and not failure.harmless:
                watched.undo()
                failure.hold_note = f"undo copy of the parameters and moments: {watched.reason}"
                self._leave(failure)
            else:
                self._restored.discard(id(optimizer))
        self._taken += 1
        self.wiped = False
        self.clip = None
        if self.current is None:
            self.unwrapped_steps += 1
        else:
            self.committed()

    def _judge_update(self, optimizer: Optimizer, watched: Watched) -> Failure | None:
        step = self.steps.get(optimizer, self.last_step)
        tensors = [p for group in optimizer.param_groups for p in group["params"]]
        moments = hold.state_tensors(optimizer)
        here = self.current
        losses = here.losses if here is not None else []
        bad_loss = next((loss for loss in losses if not math.isfinite(loss.value)), None)
        names: tuple[str, ...] = ()
        series, value = "parameter", math.nan
        if not hold.norm([t.detach() for t in tensors]) < math.inf:
            names = tuple(hold.nonfinite((self._name(p), p.detach()) for p in tensors))
            value = hold.worst(tensors)
        if not names and not hold.norm([t for _, t in moments]) < math.inf:
            names = tuple(hold.nonfinite(moments))
            series, value = "moment", hold.worst(t for _, t in moments)
        if bad_loss is not None and (names or len(losses) == watched.losses + 1):
            # a closure that is called once is a step like any other; a search may try points where the loss is infinite
            grads = hold.gradients(optimizer)
            harmless = not names and hold.norm(grads) < math.inf and hold.all_zero(grads)
            return Failure(
                "nonfinite-loss", step, bad_loss.series, bad_loss.value, names[:10], "after step", optimizer,
                committed=harmless, harmless=harmless,
            )
        return Failure(f"nonfinite-{series}", step, series, value, names[:10], "after step", optimizer) if names else None

    def before_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        if not scaler.is_enabled():
            return
        step = self._count(optimizer)
        if self.current is not None:
            self.current.stepped.append(optimizer)
        self._scaling.add(id(optimizer))
        bad = next((loss for loss in self.window.losses if not math.isfinite(loss.value)), None) if self.window else None
        if bad is not None:
            # the scaler would skip this step and lower the scale: a loss that is bad before scaling is no calibration
            self._leave(Failure("nonfinite-loss", step, bad.series, bad.value, (), "scaler", optimizer))
            self._left_out.add(id(optimizer))

    def after_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        self._scaling.discard(id(optimizer))
        self._left_out.discard(id(optimizer))
        self.clip = None

    def _leave(self, failure: Failure) -> None:
        self._in_use = []
        if self.current is None:
            if self.in_backward and self._taken:
                failure.held = False
                failure.hold_note = (
                    f"optimizers step inside the backward pass: {self._taken} updates of this step had been taken already"
                )
            if self.unhooked is not None:
                self.unhooked(failure)
            return
        self.current.failure = failure
        raise LeaveAttempt(failure.detector)


def _skips_by_itself(optimizer: Optimizer) -> bool:
    """A fused optimizer under a scaler reads the flag on the device and skips; its gradients are still scaled."""
    found = getattr(optimizer, "found_inf", None)
    return isinstance(found, Tensor) and bool(found)

