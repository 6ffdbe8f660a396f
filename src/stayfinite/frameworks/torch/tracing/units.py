"""What an activation did to a batch: which of its units are dead or constant, and on how much of it the slope is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from stayfinite.frameworks.torch.tracing.drafts import Call

ACTIVATIONS = frozenset(
    {"relu", "gelu", "silu", "elu", "softplus", "tanh", "sigmoid", "softmax", "activation", "logsigmoid"}
)
"""Kinds whose units are counted."""

FLAT = 1e-3
"""A slope below this is flat: five such layers in a row leave 1e-15 of a gradient."""
CERTAIN = 0.999
"""A row of a softmax with a probability above this is decided: its slope is below `FLAT`."""


class Count(NamedTuple):
    """Fields as in `records.survey.Units`."""

    units: int
    dead: int
    constant: int
    saturated: float


_SLOPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    # of the output, because in-place forms leave nothing else
    "relu": lambda out: (out != 0).to(out.dtype),
    "sigmoid": lambda out: out * (1 - out),
    "tanh": lambda out: 1 - out * out,
    "softplus": lambda out: -torch.expm1(-out),
    "logsigmoid": lambda out: -torch.expm1(out),
    "elu": lambda out: torch.where(out > 0, torch.ones_like(out), out + 1),
}
_LEFT_TAIL = {"gelu": -3.6, "silu": -8.9}
"""Arguments below which the slope of these is smaller than `FLAT` in magnitude."""


def kind_of_activation(call: Call) -> str:
    """The kind of activation `call` is; empty if it is none. A clamp from below at 0 is a relu by hand."""
    kind = call.recipe.kind
    if kind in ACTIVATIONS:
        return kind
    if kind == "clamp" and [value for _, value in call.numbers] == [0.0] and not call.recipe.base.endswith("max"):
        return "relu"
    return ""


def count(kind: str, output: torch.Tensor, given: torch.Tensor | None, channels: bool, dim: Any) -> Count:
    """**Arguments**: a dense floating `output` and what was `given` (``None`` if overwritten); `channels`: units lie
    along dimension 1, else along the last; `dim`: the one a softmax normalises over."""
    out = output.detach()
    if out.element_size() < 4:
        out = out.to(torch.float32)
    if kind == "softmax":
        axis = int(dim) if dim is not None else -1
        extent = out.shape[axis] if out.dim() else 1
        rows = out.amax(axis) if out.dim() else out
        return Count(extent, 0, 0, float((rows > CERTAIN).double().mean()))
    units = out.reshape(1, 1) if out.dim() == 0 else out.reshape(-1, 1) if out.dim() == 1 else out
    if units.dim() > 2 or channels:
        axis = 1 if channels and units.dim() > 2 else -1
        units = units.movedim(axis, -1).reshape(-1, units.shape[axis])
    dead = int((units == 0).all(0).sum())
    constant = int((units == units[0]).all(0).sum()) if units.shape[0] > 1 else dead
    return Count(units.shape[1], dead, constant, _saturated(kind, out, given))


def _saturated(kind: str, out: torch.Tensor, given: torch.Tensor | None) -> float:
    if kind in _LEFT_TAIL and given is not None:
        return float((given < _LEFT_TAIL[kind]).double().mean())
    slope = _SLOPES.get(kind)
    return float((slope(out).abs() < FLAT).double().mean()) if slope is not None else 0.0
