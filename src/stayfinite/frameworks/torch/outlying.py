"""Single numbers of a training's state that lie far beyond all others of their tensor: what a bit that fell over leaves behind."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from stayfinite.frameworks.torch.stats import first_true
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.records.numbers import to_float, to_number
from stayfinite.records.tensor import TensorStats
from stayfinite.records.trace import Leaf, LeafKind

BEYOND = 1e6
"""How many times larger than the next largest it is, and how large at least. The highest bit of the exponent of float32 makes a
number 2^128 times as large, the next one 2^64; what a training makes of its own accord is spread over more elements."""
ALONE = 1e15
"""Magnitude from which a tensor of one element is meant, which has nothing to be compared with."""
_MOST = 2**26
_LISTED = 5


def outlying(subjects: Subjects) -> tuple[Leaf, ...]:
    """Parameters, buffers and moments of which exactly one element is not finite or lies `BEYOND` the rest: the largest first, the
    others may have come of it by an update; five at most."""
    found: list[Leaf] = []
    for kind, name, tensor in _state(subjects):
        if tensor.is_floating_point() and tensor.layout is torch.strided and 0 < tensor.numel() <= _MOST:
            stats = _alone(name, tensor.detach())
            if stats is not None:
                found.append(Leaf(kind, name, stats))
    return tuple(sorted(found, key=lambda leaf: -_size(leaf))[:_LISTED])


def _size(leaf: Leaf) -> float:
    value = to_float(leaf.stats.culprit) if leaf.stats.culprit is not None else math.inf
    return abs(value) if value == value else math.inf


def _alone(name: str, tensor: Tensor) -> TensorStats | None:
    sizes = tensor.abs().to(torch.float32 if tensor.element_size() < 8 else torch.float64)
    sizes = torch.where(torch.isnan(sizes), torch.inf, sizes).reshape(-1)
    if sizes.numel() == 1:
        largest, second = float(sizes[0]), ALONE / BEYOND
    else:
        largest, second = torch.topk(sizes, 2).values.tolist()
    if not second < torch.inf or not largest >= BEYOND * max(second, 1.0):
        return None
    at = first_true((sizes == sizes.max()).reshape(tensor.shape))
    value = tensor.reshape(-1)[int(sizes.argmax())]
    nan, inf = int(torch.isnan(value)), int(torch.isinf(value))
    low, high = min(float(value), 0.0), max(float(value), 0.0)
    return TensorStats(
        name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), nan=nan,
        posinf=inf if float(value) > 0 else 0, neginf=inf if float(value) < 0 else 0,
        min="nan" if nan or inf else low, max="nan" if nan or inf else high,
        absmax_index=at, absmax_count=1, typical_row=to_number(second), culprit=to_number(float(value)),
    )


def _state(subjects: Subjects) -> Iterator[tuple[LeafKind, str, Tensor]]:
    for parameter in subjects.parameters:
        yield "parameter", subjects.parameter_names[id(parameter)], parameter
    for buffer in subjects.buffers:
        yield "buffer", subjects.buffer_names[id(buffer)], buffer
    for optimizer in subjects.optimizers:
        for parameter, state in optimizer.state.items():
            for key, value in state.items() if isinstance(state, dict) else ():
                if isinstance(value, Tensor):
                    yield "moment", f"{key} of {subjects.parameter_names.get(id(parameter), 'a parameter')}", value
