"""Is this step fit to be committed? The cheap suspicion, its confirmation, and when gradients cannot tell.

The reduction is one dot product over each run of small gradients laid end to end, and one per large gradient: it reads
each value once. It never misses a NaN or an infinity; finite values beyond 1.8e19 in float32 overflow it, which is a
suspicion and no verdict. ``isfinite().all()`` would be twenty times dearer (measured, 11 million float32 on one thread:
75 ms against 4).
"""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.rewrite.blocks import Block

OWN_CODE = "the parameters are updated by the script's own code"
SMALL = 20_000
"""Gradients with fewer elements are laid end to end: below this the call costs more than the memory pass."""
TOGETHER = 65_536
"""Elements laid end to end at a time: a quarter of a megabyte in float32 stays in the second-level cache, and is not
mapped and unmapped at each step as a buffer of all gradients would be (measured: a quarter less time)."""
SUSPECT_NORM = 1e15
"""Largest gradient norm (times a rate above one) taken without an undo copy. In float32 the square overflows from
1.8e19 and Adam's second moment is infinite from 5.8e20, so this leaves four orders of magnitude of margin."""
LOST_EPSILON = 2.0**-149
"""Smallest positive float32: an epsilon below it keeps nothing from being zero."""
_HALF = (torch.float16, torch.bfloat16)
_NARROW = frozenset({torch.float16})
_IS_SPARSE = operator.attrgetter("is_sparse")
_DTYPE = operator.attrgetter("dtype")
_narrow: weakref.WeakKeyDictionary[Optimizer, tuple[list[tuple[Any, ...]], bool]] = weakref.WeakKeyDictionary()
"""Optimizer -> what its groups looked like when the types of all its parameters were read, and whether one was narrow."""


def gradients(optimizer: Optimizer) -> list[Tensor]:
    """The gradients `optimizer` is about to use, dense values of sparse ones."""
    return dense(bare_gradients(optimizer))


def bare_gradients(optimizer: Optimizer) -> list[Tensor]:
    """The gradients `optimizer` is about to use, sparse ones among them."""
    return [gradient for group in optimizer.param_groups for p in group["params"] if (gradient := p.grad) is not None]


def dense(tensors: list[Tensor]) -> list[Tensor]:
    """`tensors` with the dense values of sparse ones in their place."""
    return [t._values() if t.is_sparse else t for t in tensors] if True in map(_IS_SPARSE, tensors) else tensors


def norm(tensors: Sequence[Tensor]) -> float:
    """L2 norm over all `tensors` as a Python float; NaN or infinite if any element is, or if the square overflows."""
    total = 0.0
    small: list[Tensor] = []
    filled = 0
    with torch.no_grad():
        for tensor in tensors:
            size = tensor.numel()
            if size >= SMALL:
                total += squared(tensor)
                continue
            small.append(tensor)
            filled += size
            if filled >= TOGETHER:
                total += _together(small)
                small, filled = [], 0
        if small:
            total += _together(small)
    return math.sqrt(total) if total >= 0 else math.nan


def _together(tensors: list[Tensor]) -> float:
    """Sum of squares over small tensors of any types; half-precision ones are widened by the company they keep."""
    try:
        flat = torch._C._nn.flatten_dense_tensors(tensors)
    except (RuntimeError, TypeError):  # several devices, sparse layouts, types that are not promoted
        return sum(map(squared, tensors))
    return squared(flat)


def squared(tensor: Tensor) -> float:
    """Sum of squares; widened to float32 where a dot product would overflow the type or does not exist."""
    if tensor.layout is torch.strided and not tensor.is_complex() and tensor.dtype not in _HALF:
        flat = tensor.reshape(-1)
        return float(torch.dot(flat, flat).item())
    if tensor.layout is not torch.strided:
        # rows that are named twice are not added up: that takes a sort, and hides no bad element
        tensor = tensor._values() if tensor.layout is torch.sparse_coo else tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    wide = tensor.detach() if tensor.dtype is torch.float64 else tensor.detach().float()
    return float(wide.square().sum().item())


def nonfinite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors that hold a NaN or an infinity, confirmed element by element."""
    bad = []
    with torch.no_grad():
        for name, tensor in named:
            values = tensor._values() if tensor.is_sparse else tensor
            if (values.is_floating_point() or values.is_complex()) and not bool(torch.isfinite(values).all()):
                bad.append(name)
    return bad


def worst(tensors: Iterable[Tensor]) -> float:
    """NaN if any element is NaN, else an infinity if there is one, else the largest magnitude; 0 for nothing."""
    result = 0.0
    with torch.no_grad():
        for tensor in tensors:
            values = (tensor._values() if tensor.is_sparse else tensor).detach()
            if values.is_complex():
                values = torch.view_as_real(values.resolve_conj())
            if values.numel() == 0 or not values.is_floating_point():
                continue
            high, low = float(values.max()), float(values.min())
            if math.isnan(high) or math.isnan(low):
                return math.nan
            result = max((result, high, low), key=abs)
    return result


def all_zero(tensors: Iterable[Tensor]) -> bool:
    """True if every element is exactly zero."""
    with torch.no_grad():
        return not any(bool(torch.count_nonzero(tensor)) for tensor in dense([*tensors]))


def unpredictable(optimizer: Optimizer) -> str | None:
    """Why gradients cannot tell whether a step of `optimizer` stays finite, or None if they can."""
    kind = type(optimizer)
    if not kind.__module__.startswith("torch.optim"):
        return f"{kind.__name__} is not one of torch.optim's optimizers"
    if kind.__name__ == "LBFGS":
        return "LBFGS moves the parameters while it searches"
    if any(isinstance(eps := group.get("eps"), float) and eps < LOST_EPSILON for group in optimizer.param_groups):
        return "its epsilon is zero in float32, so an entry without a gradient is divided zero by zero"
    if _has_narrow(optimizer):
        return "parameters are float16, where an epsilon is lost and an update overflows with ordinary gradients"
    return None


def undo_reason(block: Block, subjects: Subjects, learned: str | None, steps_in_backward: bool) -> str:
    """Why passes of `block` run over an undo copy, or an empty text if gradients tell what an update will do. `learned`: that
    it writes parameters by itself, seen before."""
    if block.by_hand or not subjects.optimizers:
        return OWN_CODE
    if learned is not None:
        return learned
    if steps_in_backward:
        return "an optimizer steps inside the backward pass"
    if "data" in block.attributes:
        return "the script writes to `.data`, which leaves no mark on a parameter"
    foreign = [o for o in subjects.optimizers if not type(o).__module__.startswith("torch.optim")]
    return unpredictable(foreign[0]) or "" if foreign else ""


def _has_narrow(optimizer: Optimizer) -> bool:
    """True if a parameter is float16. A model is converted as a whole and groups grow at their end, so the types of all
    are read again only when the first or the last of a group has changed (324 of them take 0.04 ms a step)."""
    groups = [group["params"] for group in optimizer.param_groups]
    looks = [(len(group), group[0].dtype, group[-1].dtype) for group in groups if group]
    known = _narrow.get(optimizer)
    if known is None or known[0] != looks:
        narrow = any(not _NARROW.isdisjoint(map(_DTYPE, group)) for group in groups)
        known = _narrow[optimizer] = looks, narrow
    return known[1]


def closure_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True if a step was given a closure. Hooks see the optimizer itself as the first positional argument."""
    return any(callable(value) for value in (*args[1:2], kwargs.get("closure")))


def rates(optimizer: Optimizer) -> list[float]:
    """The learning rate of each group."""
    return [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]


def state_tensors(optimizer: Optimizer) -> list[tuple[str, Tensor]]:
    """(name, tensor) of every floating tensor an optimizer keeps."""
    found = []
    for state in optimizer.state.values():
        if isinstance(state, dict):
            tensors = [(name, value) for name, value in state.items() if isinstance(value, Tensor)]
            found += [(name, value) for name, value in tensors if value.is_floating_point()]
    return found
