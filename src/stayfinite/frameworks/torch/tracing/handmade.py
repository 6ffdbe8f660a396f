"""Losses that are written out: a squared or absolute difference of an output and a target, brought to one number.

`((model(x) - y) ** 2).mean()` says the same as `mse_loss`, and is asked the same: can the output reach the target?
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from stayfinite.frameworks.torch.stats import dense, describe
from stayfinite.frameworks.torch.tracing.drafts import Call
from stayfinite.frameworks.torch.tracing.frames import Spot
from stayfinite.frameworks.torch.tracing.provenance import Made, Provenance
from stayfinite.records.tensor import TensorStats

_MOST = 50
"""Differences that are described in a step."""
_PASSING = frozenset({"mean", "sum", "mul", "div", "sqrt", "add"})
"""What may lie between the squares and the one number: weights, factors, a root and the epsilon in it, sums in several steps."""
_DEEP = 6


class Handmade(NamedTuple):
    """`kind`: of the library's loss that it is; `made`: who made the prediction."""

    kind: str
    spot: Spot
    prediction: TensorStats
    target: TensorStats
    made: Made | None


class Differences:
    """The differences of one step between what asks for a gradient and what does not, and what became of them."""

    def __init__(self) -> None:
        self._differences: dict[int, Handmade] = {}
        self._distances: dict[int, Handmade] = {}
        self._told: set[int] = set()

    def saw(self, call: Call, output: torch.Tensor, given: Made | None, provenance: Provenance) -> Handmade | None:
        """A forward call ran. **Returns** the loss if it brought a distance to one number. `given`: who made its first
        operand."""
        kind = call.recipe.kind
        if kind == "sub":
            self._difference(call, provenance)
        elif kind in ("pow", "abs", "mul", "norm") and given is not None and given.index in self._differences:
            self._distance(call, kind, given.index)
        elif kind == "pow" and given is not None and given.index in self._distances:  # of an absolute difference
            self._distances[call.index] = self._distances.pop(given.index)._replace(kind="mse")
        if kind in ("mean", "sum", "norm") and output.numel() == 1:
            return self._ended(call, given)
        return None

    def _difference(self, call: Call, provenance: Provenance) -> None:
        if len(call.operands) != 2 or len(self._differences) >= _MOST or call.spot.library is not None:
            return
        alive = [operand.tensor.requires_grad for operand in call.operands]
        if alive[0] == alive[1]:
            return
        parts = [dense(operand.tensor) for operand in call.operands]
        output, target = (parts[0], parts[1]) if alive[0] else (parts[1], parts[0])
        if output is None or target is None or not output.is_floating_point() or output.dim() == 0:
            return
        self._differences[call.index] = Handmade(
            "mse", call.spot, describe(output, "prediction"), describe(target, "target"), provenance.of(output)
        )

    def _distance(self, call: Call, kind: str, difference: int) -> None:
        found = self._differences[difference]
        if kind == "mul" and not (len(call.operands) == 2 and call.operands[0].tensor is call.operands[1].tensor):
            return
        if kind == "pow" and any(value != 2.0 for _, value in call.numbers):
            return
        self._distances[call.index] = found._replace(kind="l1_loss") if kind == "abs" else found

    def _ended(self, call: Call, given: Made | None) -> Handmade | None:
        index, made = call.index, given
        for _ in range(_DEEP):
            if index in self._distances and index not in self._told:
                self._told.add(index)
                return self._distances[index]
            if made is None or (made.index not in self._distances and made.kind not in _PASSING):
                return None
            index, made = made.index, made.given
        return None
