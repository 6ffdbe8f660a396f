"""The same mathematics by other code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map_only

from stayfinite.frameworks.torch.interventions.matching import kinds_of
from stayfinite.frameworks.torch.interventions.operators import Operators
from stayfinite.frameworks.torch.interventions.performing import Given, Performer
from stayfinite.records.intervention import Backend
from stayfinite.rewrite.project import is_user_file


class PlainAttention(Operators):
    """Attention by the formula, not by a fused kernel."""

    def __init__(self, given: Given) -> None:
        super().__init__(None, given)

    def entered(self) -> AbstractContextManager[Any]:
        stack = ExitStack()
        fast = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(super().entered())
        return stack

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.applied += "attention" in kinds_of(function)
        return function(*args, **kwargs)


class Elsewhere(Operators):
    """Every operator on the CPU, its results back on the device."""

    def __init__(self, given: Given) -> None:
        super().__init__(None, given)

    def change(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        devices = {leaf.device for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        away = next((device for device in devices if device.type != "cpu"), None)
        name = str(getattr(function, "__name__", ""))
        if away is None or name.endswith("_"):
            return function(*args, **kwargs)
        self.applied += 1
        result = function(*tree_map_only(Tensor, Tensor.cpu, args), **tree_map_only(Tensor, Tensor.cpu, kwargs))
        return tree_map_only(Tensor, lambda value: value.to(away), result)


class Uncompiled(Performer):
    """Compiled functions run as they are written: what every experiment does, alone."""

    def __init__(self) -> None:
        super().__init__()
        self.applied = 1


class Deterministic(Performer):
    """Kernels that give the same each time; where there is none, torch warns. Compiled code runs compiled."""

    compiled = True

    @contextmanager
    def entered(self) -> Iterator[None]:
        before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(True, warn_only=True)
        self.applied += 1
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warned)


class _Context:
    """What the forward part of a function is given when autograd differentiates it itself."""

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs

    def save_for_backward(self, *tensors: Any) -> None:
        """Nothing has to be kept."""

    save_for_forward = mark_dirty = mark_non_differentiable = set_materialize_grads = save_for_backward


class OwnDerivative(Performer):
    """Functions with a derivative of the user's own are differentiated through their forward part instead."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        kind = torch.autograd.Function
        original = kind.__dict__["apply"]
        owner = self

        def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
            forward = cls.forward
            code = getattr(forward, "__code__", None)
            if code is None or not is_user_file(code.co_filename):
                return original.__get__(None, cls)(*args, **kwargs)
            needs = tuple(isinstance(one, Tensor) and one.requires_grad for one in args)
            separate = cls.setup_context is not torch.autograd.function._SingleLevelFunction.setup_context
            result = forward(*args, **kwargs) if separate else forward(_Context(needs), *args, **kwargs)
            if any(needs) and not any(leaf.requires_grad for leaf in tree_leaves(result) if isinstance(leaf, Tensor)):
                owner.refused = f"the forward part of {cls.__name__} cannot be differentiated"
            owner.applied += 1
            return result

        kind.apply = classmethod(apply)  # type: ignore[assignment]
        try:
            yield
        finally:
            kind.apply = original


def performer(intervention: Backend, given: Given) -> Performer:
    """Who performs `intervention`."""
    if intervention.name == "plain-attention":
        return PlainAttention(given)
    if intervention.name == "eager":
        return Uncompiled()
    if intervention.name == "deterministic":
        return Deterministic()
    if intervention.name == "own-derivative":
        return OwnDerivative()
    if all(parameter.device.type == "cpu" for parameter in given.subjects.parameters):
        refused = Performer()
        refused.refused = "the step runs on the CPU already"
        return refused
    return Elsewhere(given)


