"""Stable forms for what has nothing to work on: means over nothing, variances of one value, matrices that cannot be decomposed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stayfinite.frameworks.torch.interventions.matching import kinds_of, name_of

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.interventions.forms import Call, Rewritten

_EPSILON = {torch.float16: 1e-6, torch.bfloat16: 1e-8, torch.float64: 1e-24}
_SHARES = (1e-4, 1e-2, 1.0, 100.0)
"""Multiples of the identity that are tried, as shares of the matrix' largest entry; the first that can be decomposed stays."""


def bound(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments | None:
    """The arguments of a call by name; ``None`` for functions without a signature."""
    try:
        return inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return None


def unbiased_off(performer: Rewritten, call: Call, before: Any) -> Any:
    """A variance of one value is 0, and so is what a layer subtracts and divides."""
    function, args, kwargs = call
    name = name_of(function)
    value = args[0] if args else kwargs.get("input")
    if not isinstance(value, Tensor):
        return NotImplemented
    if name in ("batch_norm", "instance_norm"):
        return _single_values(performer, call, value)
    if name not in ("var", "std", "var_mean", "std_mean"):
        return NotImplemented
    dims, keep = _axes(args, kwargs)
    with torch.no_grad():
        made = torch.var(value.detach(), dims, correction=0, keepdim=keep)
    if made.numel() == 0 or value.numel() // made.numel() > 1:
        return NotImplemented
    performer.did(made.numel())
    performer.bad = torch.ones_like(made, dtype=torch.bool)
    result = torch.var(performer.watched(value), dims, correction=0, keepdim=keep)
    if name.startswith("std"):
        result = (result + _EPSILON.get(value.dtype, 1e-12)).sqrt()
    return (result, value.mean(dims, keepdim=keep)) if name.endswith("_mean") else result


def _axes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, bool]:
    """The axes and `keepdim` of ``var(x)``, ``var(x, unbiased)``, ``var(x, dim, unbiased, keepdim)`` and their keywords."""
    rest = list(args[1:])
    dims = kwargs.get("dim", kwargs.get("axis"))
    if rest and not isinstance(rest[0], bool):
        dims = rest[0]
    keep = kwargs.get("keepdim", rest[2] if len(rest) > 2 else False)
    return dims, bool(keep)


def _single_values(performer: Rewritten, call: Call, value: Tensor) -> Any:
    """A batch of one value per channel: nothing is left of it but the bias."""
    found = bound(*call)
    training = found is not None and found.arguments.get("training", found.arguments.get("use_input_stats", False))
    if found is None or not training:
        return NotImplemented
    per_channel = value.numel() // value.shape[1] if value.dim() > 1 else 1
    if name_of(call[0]) == "instance_norm":
        per_channel = value.numel() // (value.shape[0] * value.shape[1])
    if per_channel != 1:
        return NotImplemented
    performer.did(value.numel())
    shape = (1, -1, *[1] * (value.dim() - 2))
    result = performer.watched(value) * 0.0
    bias = found.arguments.get("bias")
    return result + bias.reshape(shape) if isinstance(bias, Tensor) else result


def mean_over_some(performer: Rewritten, call: Call, before: Any) -> Any:
    """What is reduced over nothing is 0."""
    function, args, kwargs = call
    kinds, name = kinds_of(function), name_of(function)
    value = args[0] if args else kwargs.get("input")
    if not isinstance(value, Tensor):
        return NotImplemented
    if "div" in kinds or "reciprocal" in kinds:
        return _over_a_count(performer, call)
    if name in ("nll_loss", "cross_entropy"):
        if not isinstance(before, Tensor) or before.numel() != 1 or not bool(torch.isnan(before)):
            return NotImplemented
        performer.did()
        return performer.watched(value).nan_to_num().sum() * 0.0
    if kinds & {"avg_pool", "max_pool", "conv"} and (before is None or kinds & {"avg_pool", "max_pool"}):
        return _pooled(performer, call, value, before)
    if value.numel() == 0 and kinds & {"mean", "var", "std"}:
        performer.did()
        return value.sum(*args[1:2], **{key: one for key, one in kwargs.items() if key in ("dim", "axis", "keepdim")})
    nothing = isinstance(before, Tensor) and before.numel() == 1 and bool(torch.isnan(before))
    if value.numel() == 0 and nothing:  # a loss that averages over elements
        performer.did()
        return performer.watched(value).sum() * 0.0
    if kinds & {"max", "min", "median"}:
        return _extreme(performer, call, value, before)
    return NotImplemented


def _over_a_count(performer: Rewritten, call: Call) -> Any:
    function, args, kwargs = call
    place = 0 if name_of(function) in ("reciprocal", "rtruediv", "rdiv") else 1
    if place >= len(args):
        return NotImplemented
    divisor = args[place]
    if isinstance(divisor, Tensor):
        empty = divisor.detach() == 0
        if not empty.any():
            return NotImplemented
        performer.did(empty.sum())
        some = torch.where(empty, torch.ones_like(divisor), performer.watches.at(divisor, empty))
    elif divisor == 0:
        performer.did()
        some = 1
    else:
        return NotImplemented
    return performer.run(function, args, kwargs, [some if at == place else one for at, one in enumerate(args)], kwargs)


def _extreme(performer: Rewritten, call: Call, value: Tensor, before: Any) -> Any:
    """A maximum over nothing, or over what is masked throughout."""
    function, args, kwargs = call
    if value.numel() == 0:
        dims, keep = kwargs.get("dim", args[1] if len(args) > 1 else None), bool(kwargs.get("keepdim", False))
        performer.did()
        largest = value.sum() if dims is None else value.sum(dims, keepdim=keep)
        if name_of(function) in ("amax", "amin") or dims is None:
            return largest
        kind = torch.return_types.max if name_of(function) == "max" else torch.return_types.min
        return kind((largest, torch.zeros_like(largest, dtype=torch.long)))  # type: ignore[call-arg]
    result = function(*args, **kwargs)
    largest = result if isinstance(result, Tensor) else result[0]
    empty = torch.isinf(largest.detach())
    if not empty.any():
        return NotImplemented
    performer.did(empty.sum())
    performer.arrivals.of(largest, empty)
    filled = torch.where(empty, torch.zeros_like(largest), largest)
    return filled if isinstance(result, Tensor) else type(result)((filled, *result[1:]))


def _pooled(performer: Rewritten, call: Call, value: Tensor, before: Any) -> Any:
    function, args, kwargs = call
    if before is None:  # it raised: nothing would be left, so zeros are added until something is
        size = args[1] if len(args) > 1 else kwargs.get("kernel_size", kwargs.get("weight"))
        extents: Any = tuple(size.shape[2:]) if isinstance(size, Tensor) else size
        count = value.dim() - 2 if value.dim() > 2 else 1
        extents = (extents,) * count if isinstance(extents, int) else tuple(extents)
        missing = [max(0, extent - value.shape[place - len(extents)]) for place, extent in enumerate(extents)]
        if not any(missing):
            return NotImplemented
        padding = [width for extra in reversed(missing) for width in (0, extra)]
        performer.did()
        return function(F.pad(performer.watched(value), padding), *args[1:], **kwargs)
    result = function(*args, **kwargs)
    largest = result if isinstance(result, Tensor) else result[0]
    empty = ~torch.isfinite(largest.detach())
    if not empty.any() or not bool(torch.isfinite(value.detach()).all()):
        return NotImplemented
    performer.did(empty.sum())
    if "avg_pool" in kinds_of(function):
        found = bound(function, args, kwargs)
        if found is None or "count_include_pad" not in found.signature.parameters:
            if len(args) > 5:
                return function(*args[:5], True, *args[6:], **kwargs)
            return function(*args, **{**kwargs, "count_include_pad": True})
        found.arguments["count_include_pad"] = True
        return function(*found.args, **found.kwargs)
    filled = torch.where(empty, torch.zeros_like(largest), largest)
    return filled if isinstance(result, Tensor) else type(result)((filled, *result[1:]))


def jitter(performer: Rewritten, call: Call, before: Any) -> Any:
    """A matrix with a small multiple of the identity added, no two entries alike: equal eigenvalues part."""
    function, args, kwargs = call
    value = args[0] if args else next(iter(kwargs.values()))
    if not isinstance(value, Tensor) or value.dim() < 2:
        return NotImplemented
    rows, columns = value.shape[-2:]
    steps = torch.linspace(1.0, 2.0, min(rows, columns), dtype=value.real.dtype, device=value.device)
    unit = torch.zeros(rows, columns, dtype=value.dtype, device=value.device)
    unit.diagonal().copy_(steps)
    largest = float(value.detach().abs().amax()) or 1.0
    for share in _SHARES:
        added = share * largest * unit
        trial = performer.plain(function, (value + added, *args[1:]), kwargs)
        parts = trial if isinstance(trial, (tuple, list)) else (trial,)
        if trial is not None and all(bool(torch.isfinite(one).all()) for one in parts if isinstance(one, Tensor)):
            performer.did(value.numel() // (rows * columns))
            return function(performer.watched(value) + added, *args[1:], **kwargs)
    return NotImplemented


def zeros(performer: Rewritten, call: Call, before: Any) -> Any:
    """Memory that is reserved, written with zeros before anybody else writes or reads it."""
    function, args, kwargs = call
    result = function(*args, **kwargs)
    if "empty" not in kinds_of(function) or not isinstance(result, Tensor):
        return NotImplemented
    performer.did(result.numel())
    performer.compared = True  # what the memory holds by chance is nothing to be compared with
    with torch.no_grad():
        return result.zero_()


def sigmoid(performer: Rewritten, call: Call, before: Any) -> Any:
    """A softmax over a single number, which is 1 whatever it is given, as one over that number and 0."""
    function, args, kwargs = call
    scores = args[0] if args else kwargs.get("input")
    dim = args[1] if len(args) > 1 and isinstance(args[1], int) else kwargs.get("dim")
    if name_of(function) not in ("softmax", "log_softmax") or not isinstance(scores, Tensor) or not scores.dim():
        return NotImplemented
    if scores.shape[-1 if dim is None else dim] != 1:
        return NotImplemented
    performer.did(scores.numel())
    performer.compared = True  # it is another function, and is meant to be
    scores = performer.watched(scores)
    return torch.sigmoid(scores) if name_of(function) == "softmax" else F.logsigmoid(scores)
