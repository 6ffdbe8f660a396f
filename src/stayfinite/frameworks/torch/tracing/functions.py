"""Functions with a derivative of the user's own: did one of their halves make non-finite numbers of finite ones, and what
would the derivative of the forward half have been?

``torch.autograd.Function`` is where a kernel is called or a formula is written by hand, and where nothing checks that the
backward half belongs to the forward half. Numbers are looked at as they go in and come out. The reference is computed when
the step is over: by differentiating the forward half if it is made of torch's operators, else by central differences.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal

import torch

from stayfinite import shield
from stayfinite.frameworks.torch.stats import bad_mask, dense, describe, first_true, is_bad, is_number, quietly
from stayfinite.frameworks.torch.tracing.frames import Frames, Spot
from stayfinite.records.location import UNKNOWN_LOCATION, Location
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import CustomFunction, Half

_KEEP = 1 << 28
"""Bytes of arguments that are kept alive for a reference; autograd keeps most of them as well."""
_MOST = 8
"""Guilty functions that are told."""
_STEP = 1e-3
"""Central differences: in float64 the best step for values around 1 is the cube root of 1e-16 and far smaller; kernels often
compute in float32, where it is 5e-3. Only finiteness is asked for."""

Answer = Literal["", "finite", "nonfinite"]


class _Applied:
    """One application: the class, its arguments (values as they were), and the place."""

    def __init__(self, kind: type, args: Sequence[Any], spot: Spot) -> None:
        self.kind = kind
        self.args = [arg.detach() if isinstance(arg, torch.Tensor) else arg for arg in args]
        self.versions = [arg._version if isinstance(arg, torch.Tensor) else 0 for arg in self.args]
        self.spot = spot
        self.half: Half = "forward"
        self.inputs: tuple[TensorStats, ...] = ()
        self.output: TensorStats | None = None
        self.arrived: list[torch.Tensor | None] = []
        self.bad: tuple[int, tuple[int, ...]] = (0, ())
        """The tensor argument whose gradient went bad, and the element."""

    @property
    def size(self) -> int:
        return sum(arg.numel() * arg.element_size() for arg in self.args if isinstance(arg, torch.Tensor))

    @property
    def unchanged(self) -> bool:
        """True if the arguments are what the forward half was given."""
        return all(
            not isinstance(arg, torch.Tensor) or arg._version == version
            for arg, version in zip(self.args, self.versions, strict=True)
        )


class CustomFunctions:
    """Follows the applications within a block; `records` afterwards."""

    def __init__(self, frames: Frames, sensor: str) -> None:
        self._frames = frames
        self._sensor = sensor
        self._kept = 0
        self._guilty: list[_Applied] = []
        self._apply: Any = None

    def __enter__(self) -> CustomFunctions:
        self._apply = vars(torch.autograd.Function)["apply"]
        original = self._apply.__func__
        follow = self._applied

        def apply(kind: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(kind, *args, **kwargs)
            with shield.shielded(self._sensor), quietly():
                follow(kind, args, result, sys._getframe(1))
            return result

        torch.autograd.Function.apply = classmethod(apply)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None
    ) -> None:
        torch.autograd.Function.apply = self._apply

    def _applied(self, kind: type, args: Sequence[Any], result: Any, frame: Any) -> None:
        outputs = [one for one in (result if isinstance(result, tuple) else (result,)) if isinstance(one, torch.Tensor)]
        if not outputs or kind.__module__.startswith("torch.") or len(self._guilty) >= _MOST:
            return
        applied = _Applied(kind, args, self._frames.spot(frame, False))
        given = [part for arg in applied.args if (part := _numbers(arg)) is not None]
        out = next((part for one in outputs if (part := _numbers(one)) is not None and is_bad(part)), None)
        if out is not None and not any(is_bad(part) for part in given):
            applied.inputs = tuple(describe(part, f"input[{n}]") for n, part in enumerate(given))
            applied.output = describe(out, "output", first_true(bad_mask(out)))
            self._guilty.append(applied)
            return
        node = outputs[0].grad_fn
        if node is None or self._kept + applied.size > _KEEP:
            return
        self._kept += applied.size

        def passed(leaving: Any, arrived: Any) -> None:
            with shield.shielded(self._sensor), quietly():
                self._passed(applied, leaving, arrived)

        node.register_hook(passed)

    def _passed(self, applied: _Applied, leaving: Sequence[Any], arrived: Sequence[Any]) -> None:
        came = [part for one in arrived if (part := _numbers(one)) is not None]
        if any(is_bad(part) for part in came) or len(self._guilty) >= _MOST:
            return
        for place, one in enumerate(leaving):
            part = _numbers(one)
            if part is not None and is_bad(part):
                at = first_true(bad_mask(part))
                applied.half = "backward"
                applied.inputs = tuple(describe(each, f"gradient[{n}]") for n, each in enumerate(came))
                applied.output = describe(part, "gradient", at)
                applied.arrived = [_numbers(each) for each in arrived]
                applied.bad = place, at
                self._guilty.append(applied)
                return

    def records(self) -> tuple[CustomFunction, ...]:
        """The guilty ones, with their references. Runs their forward halves again: call it when the step is over."""
        found = []
        for applied in self._guilty:
            answer: Answer = ""
            how = ""
            if applied.half == "backward" and applied.unchanged:
                answer, how = _reference(applied)
            found.append(CustomFunction(
                name=applied.kind.__qualname__, half=applied.half, location=self._frames.location(applied.spot),
                written=self._written(applied), inputs=applied.inputs, output=applied.output, reference=answer, how=how,
            ))
        return tuple(found)

    def _written(self, applied: _Applied) -> Location:
        method = getattr(applied.kind, applied.half, None)
        code = getattr(method, "__code__", None)
        if code is None:
            return UNKNOWN_LOCATION
        return self._frames.location(Spot(code, 0, None, False, False, False))


def _numbers(value: object) -> torch.Tensor | None:
    return dense(value) if isinstance(value, torch.Tensor) and is_number(value) else None


class _Context:
    """Stands for the context of a forward half that is run for its values alone."""

    def __init__(self) -> None:
        self.needs_input_grad = (True,) * 64
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith(("mark_", "set_", "save_")):
            return lambda *_args, **_kwargs: None
        raise AttributeError(name)


def _forward(kind: Any, args: Sequence[Any]) -> list[torch.Tensor]:
    """The outputs of the forward half of `kind`, as plain code would compute them."""
    apart = kind.setup_context is not torch.autograd.function._SingleLevelFunction.setup_context
    result = kind.forward(*args) if apart else kind.forward(_Context(), *args)
    return [one for one in (result if isinstance(result, tuple) else (result,)) if isinstance(one, torch.Tensor)]


def _reference(applied: _Applied) -> tuple[Answer, str]:
    """Whether the derivative of the forward half is finite where the backward half's was not."""
    name = applied.kind.__name__
    try:
        with torch.enable_grad():
            args = [arg.clone().requires_grad_() if _differentiable(arg) else arg for arg in applied.args]
            outputs = _forward(applied.kind, args)
            pairs = [
                (out, arrived) for out, arrived in zip(outputs, applied.arrived, strict=False)
                if arrived is not None and out.requires_grad
            ]
            wanted = [arg for arg in args if _differentiable(arg)]
            if pairs and wanted:
                gradients = torch.autograd.grad(
                    [out for out, _ in pairs], wanted, [arrived for _, arrived in pairs], allow_unused=True
                )
                seen = [one for one in gradients if one is not None]
                if seen:
                    bad = any(not bool(torch.isfinite(one).all()) for one in seen)
                    return "nonfinite" if bad else "finite", f"autograd through `{name}.forward`"
    except Exception:  # not made of torch's operators, or it wants its real context
        pass
    try:
        return _differences(applied), f"central differences of `{name}.forward`"
    except Exception:
        return "", ""


def _differences(applied: _Applied) -> Answer:
    """The slope of the forward half along the element whose gradient went bad, from its values on both sides."""
    place, at = applied.bad
    argument = applied.args[place]
    if not isinstance(argument, torch.Tensor) or argument.ndim != len(at):
        return ""
    sides = []
    for sign in (1.0, -1.0):
        moved = argument.clone()
        moved[at] += sign * _STEP * max(1.0, abs(float(argument[at])))
        args = [moved if n == place else arg for n, arg in enumerate(applied.args)]
        sides.append(_forward(applied.kind, args))
    pairs = list(zip(*sides, applied.arrived, strict=False))
    slopes = [(((up - down) / (2.0 * _STEP)) * arrived).sum() for up, down, arrived in pairs if arrived is not None]
    return "finite" if slopes and all(bool(torch.isfinite(one)) for one in slopes) else "nonfinite"


def _differentiable(value: object) -> bool:
    return isinstance(value, torch.Tensor) and is_number(value)
