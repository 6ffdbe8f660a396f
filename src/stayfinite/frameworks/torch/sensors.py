"""The places in PyTorch where a session listens, and how each is put back.

Every patch is made when torch is imported, before the user's own imports bind the names, and each says why it exists.
All calls go through `shield`: a sensor that breaks is switched off and the original keeps working.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from stayfinite import shield


class Watcher(Protocol):
    """What the sensors report to."""

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        """`roots` are about to be differentiated."""

    def after_backward(self) -> None:
        """Differentiation ended, by an exception perhaps."""

    def after_gradients(self) -> None:
        """`torch.autograd.grad` was called: gradients may be used by hand."""

    def before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`optimizer.step` is about to run; may return changed (args, kwargs)."""

    def after_step(self, optimizer: Optimizer) -> None:
        """`optimizer.step` returned."""

    def after_zero_grad(self, subject: object, to_none: bool) -> None:
        """Gradients were cleared: taken away, or else filled with zeros."""

    def before_clip(self, parameters: Sequence[Tensor], limit: float | None) -> None:
        """Gradients of `parameters` are about to be clipped."""

    def after_clip(self, limit: float | None, norm: object) -> None:
        """Clipping returned the norm it found; `limit` is None for clipping by value."""

    def after_scale(self, original: object, scaled: object, scaler: Any) -> None:
        """A gradient scaler multiplied `original`."""

    def after_unscale(self) -> None:
        """A gradient scaler divided gradients by its scale."""

    def scaler_made(self, scaler: Any) -> None:
        """A gradient scaler was constructed by the caller of the caller."""

    def before_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        """A gradient scaler was asked to step `optimizer`."""

    def after_scaler_step(self, scaler: Any, optimizer: Optimizer) -> None:
        """It did, or it skipped."""

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """An optimizer was constructed by the caller of the caller."""

    def scheduler_made(self, scheduler: object) -> None:
        """A scheduler of learning rates was constructed by the caller of the caller."""

    def compiled(self) -> None:
        """`torch.compile` was called, for a module or a function."""

    def autocast_entered(self, dtype: str) -> None:
        """An autocast region of that type was entered."""

    def optimizer_restored(self, optimizer: Optimizer) -> None:
        """`optimizer.load_state_dict` was called."""

    def state_loaded(self, source: str) -> None:
        """`torch.load` or `load_state_dict` was called."""

    def state_saved(self, *, asked: bool) -> None:
        """`torch.save` is about to write or, where it is only `asked` for, a module's `state_dict` about to be made."""


class Sensors:
    """All patches of one session. `attach` makes them, `detach` restores every patched attribute.

    `watcher` may be exchanged at any time: one judges live steps, another listens to repetitions.
    """

    def __init__(self, watcher: Watcher, *listen: Callable[[Callable[..., None]], None]) -> None:
        self.watcher = watcher
        self._listen = listen
        """Hooks of others, made and restored with these."""
        self._restore: list[Callable[[], None]] = []
        self._depth: dict[int, int] = {}

    def attach(self) -> None:
        """Listen from now on."""
        before = register_optimizer_step_pre_hook(self._before_step)
        after = register_optimizer_step_post_hook(self._after_step)
        self._restore += [before.remove, after.remove]
        # Tensor.backward looks `torch.autograd.backward` up at each call: one patch sees both spellings
        self._wrap_backward()
        self._wrap(torch.autograd, "grad", None, lambda _result, *_args, **_kwargs: self.watcher.after_gradients())
        for owner in (Optimizer, torch.nn.Module):
            self._wrap(
                owner, "zero_grad", None,
                lambda _result, own, set_to_none=True, **_kwargs: self.watcher.after_zero_grad(own, bool(set_to_none)),
            )
        self._wrap(Optimizer, "__init__", None, lambda _result, optimizer, *_args, **_kwargs: self.watcher.optimizer_made(optimizer))
        schedulers = sys.modules["torch.optim.lr_scheduler"]
        for kind in (schedulers.LRScheduler, schedulers.ReduceLROnPlateau):  # the latter does not call the former
            self._wrap(kind, "__init__", None, lambda _result, made, *_args, **_kwargs: self.watcher.scheduler_made(made))
        self._attach_clipping()
        scaler = sys.modules["torch.amp.grad_scaler"].GradScaler
        self._wrap(scaler, "scale", None, lambda scaled, own, outputs: self.watcher.after_scale(outputs, scaled, own))
        self._wrap(scaler, "unscale_", None, lambda *_args, **_kwargs: self.watcher.after_unscale())
        self._wrap(scaler, "__init__", None, lambda _result, made, *_args, **_kwargs: self.watcher.scaler_made(made))
        self._wrap(
            scaler, "step",
            lambda own, optimizer, *_args, **_kwargs: self.watcher.before_scaler_step(own, optimizer),
            lambda _result, own, optimizer, *_args, **_kwargs: self.watcher.after_scaler_step(own, optimizer),
        )
        autocast = sys.modules["torch.amp.autocast_mode"].autocast
        self._wrap(autocast, "__enter__", None, lambda _result, own: self.watcher.autocast_entered(str(own.fast_dtype)))
        self._wrap(torch, "compile", None, lambda *_args, **_kwargs: self.watcher.compiled())
        self._wrap(torch, "load", None, lambda _result, *args, **_kwargs: self.watcher.state_loaded(str(args[0]) if args else "a file"))
        self._wrap(
            Optimizer, "load_state_dict", None,
            lambda _result, optimizer, *_args, **_kwargs: self.watcher.optimizer_restored(optimizer),
        )
        self._wrap(
            torch.nn.Module, "load_state_dict", None,
            lambda _result, *_args, **_kwargs: self.watcher.state_loaded("a state dict"),
        )

        # what is saved now may be kept for good, over the last state that was finite
        self._wrap(torch, "save", lambda *_args, **_kwargs: self.watcher.state_saved(asked=False), None)
        self._wrap(torch.nn.Module, "state_dict", lambda *_args, **_kwargs: self.watcher.state_saved(asked=True), None)
        for listen in self._listen:
            listen(self._wrap)

    def detach(self) -> None:
        """Stop listening and leave torch as it was found."""
        while self._restore:
            self._restore.pop()()

    def _wrap_backward(self) -> None:
        original = torch.autograd.backward

        @functools.wraps(original)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            roots = [tensors] if isinstance(tensors, Tensor) else [root for root in tensors if isinstance(root, Tensor)]
            self._shielded("backward", self.watcher.before_backward, roots)
            try:
                original(tensors, *args, **kwargs)
            finally:
                self._shielded("backward", self.watcher.after_backward)

        self._set(torch.autograd, "backward", backward)

    def _attach_clipping(self) -> None:
        # clipping by an infinite norm zeroes every gradient and by a NaN makes all NaN: what was wrong is read before
        module = sys.modules["torch.nn.utils.clip_grad"]
        for name, limited in (("clip_grad_norm_", True), ("clip_grad_value_", False)):
            original = getattr(module, name)

            @functools.wraps(original)
            def clip(
                *args: Any, _original: Callable[..., Any] = original, _limited: bool = limited, **kwargs: Any
            ) -> Any:
                parameters = args[0] if args else kwargs.pop("parameters")
                parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)  # may be a generator
                bound = None
                if _limited:
                    bound = float(args[1] if len(args) > 1 else kwargs.get("max_norm", float("nan")))
                self._shielded("clipping", self.watcher.before_clip, parameters, bound)
                result = _original(parameters, *args[1:], **kwargs)
                self._shielded("clipping", self.watcher.after_clip, bound, result)
                return result

            for owner in (module, torch.nn.utils):
                self._set(owner, name, clip)

    def _shielded(self, sensor: str, hook: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not shield.is_off(sensor):
            with shield.shielded(sensor):
                return hook(*args, **kwargs)
        return None

    def _wrap(
        self, owner: Any, name: str, before: Callable[..., Any] | None, after: Callable[..., Any] | None,
        when: Callable[[], bool] | None = None,
    ) -> None:
        """`when`: a question asked first, for what is called many times a step and mostly not listened to."""
        original = getattr(owner, name)
        sensor = f"{getattr(owner, '__name__', owner)}.{name}"

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if when is not None and not when():
                return original(*args, **kwargs)
            if before is not None:
                self._shielded(sensor, before, *args, **kwargs)
            result = original(*args, **kwargs)
            if after is not None:
                self._shielded(sensor, after, result, *args, **kwargs)
            return result

        self._set(owner, name, wrapper)

    def _set(self, owner: Any, name: str, value: Any) -> None:
        own = name in vars(owner)
        original = getattr(owner, name)

        def restore() -> None:
            if own:
                setattr(owner, name, original)
            else:
                delattr(owner, name)

        self._restore.append(restore)
        setattr(owner, name, value)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        # a step that calls `super().step()` passes the hooks twice, if the parent class was ever used by itself
        if id(optimizer) in self._depth and _is_stepping(optimizer):
            self._depth[id(optimizer)] += 1
            return None
        self._depth[id(optimizer)] = 1
        return self._shielded("optimizer step", self.watcher.before_step, optimizer, args, kwargs)

    def _after_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        depth = self._depth.pop(id(optimizer), 1) - 1
        if depth:
            self._depth[id(optimizer)] = depth
        else:
            self._shielded("optimizer step", self.watcher.after_step, optimizer)


def _is_stepping(optimizer: Optimizer) -> bool:
    """True if this is asked from a step of `optimizer` inside another one that has not returned. An exception in a step
    leaves no other trace, so the frames are looked at."""
    hooks = torch.optim.Optimizer.profile_hook_step.__code__.co_filename
    frame, found = sys._getframe(1), 0
    while frame is not None and found < 2:
        code = frame.f_code
        found += code.co_name == "wrapper" and code.co_filename == hooks and frame.f_locals.get("self") is optimizer
        frame = frame.f_back  # type: ignore[assignment]
    return found == 2
