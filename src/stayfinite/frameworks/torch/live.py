"""Judges the step that runs for the user.

The verdict falls before the optimizer writes: the loss is looked at when it is differentiated, the gradients when the
step is asked for. A step that cannot be committed is left by an exception that no ``except Exception`` catches, and
nothing of it has been written. Where gradients cannot tell, the step runs over an undo copy and is looked at afterwards.

Numbers on a device are collected and read once per step, before the update; or, for fused optimizers, judged on the device
and read later (`latch`).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.engine.ports import Readings
from stayfinite.errors import LeaveAttempt
from stayfinite.frameworks.torch import hold, latch, verdicts
from stayfinite.frameworks.torch.clearing import Clearing
from stayfinite.frameworks.torch.clipping import Clip, Clipping
from stayfinite.frameworks.torch.latch import Armed
from stayfinite.frameworks.torch.latching import Latching
from stayfinite.frameworks.torch.losses import Losses
from stayfinite.frameworks.torch.norms import Norm
from stayfinite.frameworks.torch.passes import Failure, Loss, Pass, Watched, Window
from stayfinite.frameworks.torch.pulse import Pulse
from stayfinite.frameworks.torch.scaling import Scaling, skips_by_itself
from stayfinite.frameworks.torch.state import optimizer_undo, parameter_undo, together
from stayfinite.frameworks.torch.updates import Updates
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.rewrite.undo import Undo


class Live:
    """The watcher of live steps (`sensors.Watcher`). Between passes it only counts."""

    def __init__(
        self, readings: Readings, locate: Callable[..., Location], name: Callable[[Tensor], str], every: int = 50
    ) -> None:
        self.readings = readings
        self.pulse = Pulse(readings, name, every)
        self.current: Pass | None = None
        self.window: Window | None = None
        self.updates = Updates(readings)
        self.made: weakref.WeakKeyDictionary[Optimizer, Location] = weakref.WeakKeyDictionary()
        self.scheduled: weakref.WeakKeyDictionary[object, Location] = weakref.WeakKeyDictionary()
        """Where schedulers were constructed."""
        self.autocast: str | None = None
        self.compiled_at = self.clipped_at = UNKNOWN_LOCATION
        self.checkpoint: Location | None = None
        self.checkpoint_step = -1
        self.clearing = Clearing(locate)
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
        self.state: Callable[[Optimizer, int], Failure | None] = lambda _optimizer, _step: None
        """Asked about parameters and buffers, once loss and gradients are fit."""
        self.saved: Callable[..., None] = lambda **_kwargs: None
        self.training_begins: Callable[[], None] = lambda: None
        """Told when an optimizer is made: what was remembered of an earlier training can go."""
        self.unwrapped_steps = 0
        """Updates taken outside any block: held if bad, never repeated."""
        self._locate = locate
        self._name = name
        self.losses = Losses(readings, self.defers)
        self._clipping = Clipping(self.defers)
        self._latching = Latching(readings, self.losses, self._clipping, name)
        self.scaling = Scaling(locate)
        self.after_unscale, self.scaler_made = self.scaling.after_unscale, self.scaling.made
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

    @property
    def clip(self) -> Clip | None:
        """The clipping calls since the last step."""
        return self._clipping.clip

    @property
    def clipped(self) -> Clip | None:
        """Those of the last step that had any."""
        return self._clipping.last

    @property
    def _coming(self) -> list[Loss]:
        """The losses of the coming update."""
        return self.window.losses if self.current is not None and self.window is not None else self.losses.outside

    def begin_pass(self, here: Pass, window: Window) -> None:
        """A pass through a block begins."""
        self.current, self.window = here, window
        for unfinished in (self._stepping, self._pending, self._scaling, self._left_out):
            unfinished.clear()
        if len(window.passes) < 2:  # a step that was left out has clipped, and was never over
            self._clipping.forget()
        self._latching.begin_pass()

    def break_off(self, failure: Failure) -> None:
        """An exception ended the pass: a step that had begun is undone where there is a copy, else it is not held."""
        for watched in self._pending.values():
            watched.undo()
            failure.hold_note = watched.note
        begun = [optimizer for optimizer in self._stepping if id(optimizer) not in self._pending]
        if self._stepping:
            failure.step = self.updates.last  # it was counted when it was asked for
            failure.optimizer = self._stepping[0]
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
        self.clearing.before_backward(first=first, none_left=self._cleared_by_hand)
        if here is not None:
            here.backward = True
        stepped = here.stepped if here is not None else []
        self.scaling.before_backward(roots)
        self.losses.note(roots, self.updates.of_loss(stepped, bool(self._stepping), self.made), here, alone=len(self.made) == 1)
        if not self.in_backward:
            self._taken = 0
        self.in_backward += 1

    def _cleared_by_hand(self) -> bool:
        optimizers = [*self.updates.of] or [*self.made]
        return all(p.grad is None for o in optimizers for g in o.param_groups for p in g["params"])

    def defers(self, tensor: Tensor) -> bool:
        """True if a number of `tensor` is collected and not read at once."""
        return self.current is not None and (tensor.device.type != "cpu" or self._latching.everywhere)

    def after_backward(self) -> None:
        self.in_backward -= 1
        self.scaling.after_backward(self.made)

    def after_gradients(self) -> None:
        if self.current is not None:
            self.current.backward = True
        else:
            self.updates.loose_gradients += 1

    def after_zero_grad(self, subject: object, to_none: bool) -> None:
        self.clearing.cleared(subject, to_none=to_none)

    def before_clip(self, parameters: Sequence[Tensor], limit: float | None) -> None:
        self.scaling.before_clip(self.made, limit)
        if limit is not None and not self.clipped_at.file:
            self.clipped_at = self._locate()
        self._clipping.begin(parameters, limit)

    def after_clip(self, limit: float | None, norm: object) -> None:
        if limit is not None and isinstance(norm, Tensor):
            self._clipping.end(limit, norm)
            if self.exact and self.current is not None:
                self.current.norms.append(float(norm.item()))

    def after_scale(self, original: object, scaled: object, scaler: Any) -> None:
        if isinstance(original, Tensor) and isinstance(scaled, Tensor):
            self.losses.note_scaled(original, scaled, self.current)
        self.scaling.after_scale(scaler, scaled)

    def compiled(self) -> None:
        self.compiled_at = self.compiled_at if self.compiled_at.file else self._locate()

    def autocast_entered(self, dtype: str) -> None:
        self.autocast = dtype.removeprefix("torch.")

    def optimizer_made(self, optimizer: Optimizer) -> None:
        self.made[optimizer] = self._locate(optimizer)
        self.readings.begin_anew()
        self.training_begins()

    def scheduler_made(self, scheduler: object) -> None:
        self.scheduled[scheduler] = self._locate()

    def optimizer_restored(self, optimizer: Optimizer) -> None:
        self._restored.add(id(optimizer))

    def state_loaded(self, _source: str) -> None:
        self.checkpoint = self._locate()
        self.checkpoint_step = self.updates.coming

    def state_saved(self, *, asked: bool) -> None:
        if self.current is None:
            self.saved(asked=asked)

    # -- the verdict ---------------------------------------------------------------------------------------------

    def before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        scaling = id(optimizer) in self._scaling
        step = self.updates.last if scaling else self.updates.count(optimizer)
        here = self.current
        self.scaling.before_step(optimizer, scaled=scaling)
        self.clearing.used(optimizer)
        if here is not None and not scaling:
            here.stepped.append(optimizer)
        if self.in_backward:
            self.steps_in_backward = True
        self.asked()
        if self.pulse.due(step):
            self.pulse.gradients(optimizer, step)
        if id(optimizer) in self._left_out:
            self._left_out.discard(id(optimizer))
            self._watch_over(optimizer, "", void=True)
        elif hold.closure_of(args, kwargs):
            self._leave_if(self.settle_latch())
            self._watch_over(optimizer, "it takes a closure: gradients are made inside the step")
        elif (device := self._latched_on(optimizer)) is not None:
            self._arm(optimizer, step, device)
        elif not skips_by_itself(optimizer):
            self._judge_gradients(optimizer, step)
        self._stepping.append(optimizer)

    def _judge_gradients(self, optimizer: Optimizer, step: int) -> None:
        here = self.current
        self._leave_if(self.settle_latch())
        norm = self._gradient_norm(optimizer)
        if self.exact and here is not None:
            here.norms.append(hold.norm(hold.gradients(optimizer)))
        series = self.updates.gradient_series(optimizer)
        jumped = self.updates.read_gradient(optimizer, step, norm, self.clip)
        failure = verdicts.of_gradients(optimizer, step, self._coming, norm, self.clip, self._name, self._locate)
        failure = failure or self.state(optimizer, step)
        if failure and failure.series == "gradient_norm":
            failure.series = series
        if self._leave_if(failure):
            self._watch_over(optimizer, "", void=True)
            return
        reason = hold.unpredictable(optimizer)
        if id(optimizer) in self._restored:
            reason = reason or "its moments were loaded, and nothing is known of them yet"
        if reason is None and norm * max(1.0, *map(abs, hold.rates(optimizer)), 1.0) > hold.SUSPECT_NORM:
            reason = f"a gradient norm of {norm:.3g} may overflow the update"
        if jumped and reason is None:
            reason = "its gradient is looked into"
        if reason is not None:
            self._watch_over(optimizer, reason)
        if jumped and self.current is not None and self.window is not None and id(optimizer) in self._pending:
            self.window.keep_copy(self._pending[id(optimizer)].undo, optimizer)

    def _gradient_norm(self, optimizer: Optimizer) -> float:
        grads = self._in_use = hold.bare_gradients(optimizer)
        covered = self._clipping.covers(len(grads))  # clipping read the same gradients a moment ago
        together = bool(grads) and not covered and self.defers(grads[0])
        if together:
            grads = self._in_use = hold.dense(grads)
        norm = math.nan
        unread, clips = self.losses.unread(), [found for _, found, _ in self._clipping.pending]
        if together or unread or clips:
            scalars = [*clips, *(loss.tensor for loss in unread if loss.tensor is not None)]
            numbers, norm = latch.read_together(scalars, grads if together else ())
            self._clipping.settle(numbers[: len(clips)])
            self.losses.settle(unread, numbers[len(clips) :])
        clip = self.clip
        if clip is not None and not clip.norm < math.inf:
            return clip.norm
        if clip is not None and clip.limit is not None and covered:
            return min(clip.norm, clip.limit)
        if together:
            return norm
        reader = self._norms.get(optimizer)
        if reader is None:
            reader = self._norms[optimizer] = Norm()
        return reader.read(grads)

    def _watch_over(self, optimizer: Optimizer, reason: str, *, void: bool = False) -> None:
        losses = len(self.current.losses) if self.current is not None else 0
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        undo = self._copy_of_window(optimizer, parameters) or together([parameter_undo(parameters), optimizer_undo(optimizer)])
        self._pending[id(optimizer)] = Watched(undo, reason, losses, void)
        if self.current is not None and self.window is not None and not self.window.reason:
            self.window.reason = reason

    def _copy_of_window(self, optimizer: Optimizer, parameters: list[Tensor]) -> Undo | None:
        """The undo copy the window began with, if it will do: no other update was asked for since."""
        window = self.window if self.current is not None else None
        if window is None or window.parameters is None or sum(len(one.stepped) for one in window.passes) > 1:
            return None
        return window.parameters if window.copied.issuperset(map(id, (optimizer, *parameters))) else None

    def after_step(self, optimizer: Optimizer) -> None:
        self._in_use = []
        self._stepping = [one for one in self._stepping if one is not optimizer]
        self._latching.after_step(optimizer)
        watched = self._pending.pop(id(optimizer), None)
        if watched is not None and watched.void:
            watched.undo()
        elif watched is not None:
            losses = self.current.losses if self.current is not None else self.losses.outside
            step = self.updates.of.get(optimizer, self.updates.last)
            failure = verdicts.of_update(optimizer, step, losses, watched.losses, self._name)
            if failure is not None and not failure.harmless:
                watched.undo()
                failure.hold_note = watched.note
            else:
                self._restored.discard(id(optimizer))
            self._leave_if(failure)
        self._taken += 1
        self._forget_step()
        if self.current is None:
            self.unwrapped_steps += 1
        else:
            self.committed()

    def _forget_step(self) -> None:
        self.clearing.wiped = False
        self._clipping.forget()
        self.losses.forget()

    def before_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        if not scaler.is_enabled():
            return
        step = self.updates.count(optimizer)
        if self.current is not None:
            self.current.stepped.append(optimizer)
        self._scaling.add(id(optimizer))
        self.scaling.before_scaler_step(scaler, optimizer)
        if self._latched_on(optimizer) is None and self._leave_if(verdicts.of_scaled(optimizer, step, self._coming)):
            self._left_out.add(id(optimizer))

    def after_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        known = id(optimizer) in self._left_out
        self._scaling.discard(id(optimizer))
        self._left_out.discard(id(optimizer))
        self._forget_step()
        if scaler.is_enabled() and not known:
            self._leave_if(self.scaling.after_scaler_step(scaler, optimizer, self.updates.last, self._name))

    def _leave_if(self, failure: Failure | None) -> bool:
        """Leave the pass if there is a failure that cannot be committed. **Returns** True, outside any block, where a step
        cannot be left, if it must be undone."""
        self._in_use = self._in_use if failure is None else []
        if failure is None:
            return False
        if self.current is not None:
            self.current.failure = failure
            if failure.committed:
                return False
            for optimizer in [o for o in self.made if id(o) in self._scaling]:
                for name in ("grad_scale", "found_inf"):  # a scaler takes them back only after the step
                    vars(optimizer).pop(name, None)
            raise LeaveAttempt(failure.detector)
        if self.in_backward and self._taken:
            failure.held = False
            failure.hold_note = (
                f"optimizers step inside the backward pass: {self._taken} updates of this step had been taken already"
            )
        if self.unhooked is not None and not failure.harmless:
            self.unhooked(failure)
        return not failure.committed

    # -- judged on the device ------------------------------------------------------------------------------------

    def _latched_on(self, optimizer: Optimizer) -> torch.device | None:
        """The device to judge a step of `optimizer` on, None if it is judged here and now."""
        if self.current is None or self.window is None or self.exact or self.in_backward or id(optimizer) in self._restored:
            return None
        return self._latching.device(optimizer, self.window)

    def _arm(self, optimizer: Optimizer, step: int, device: torch.device) -> None:
        assert self.window is not None
        self._leave_if(self._latching.seen(self.updates.last))
        grads = self._in_use = hold.gradients(optimizer)
        clips = [found for _, found, _ in self._clipping.pending]
        asked = sum(len(one.stepped) for one in self.window.passes) - 1
        armed = Armed(step, optimizer, self.window, asked, self.losses.unread(), clips, id(optimizer) in self._scaling)
        self._latching.arm(armed, device, grads)

    def settle_latch(self) -> Failure | None:
        """Wait for the verdict of every latched step; the first that was bad, if any."""
        return self._latching.seen(self.updates.last, lag=1)
