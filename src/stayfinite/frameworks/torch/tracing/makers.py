"""What made an operand, where its values are finite: a variance that is a difference of means, a count, an empty slice.

Non-finite values are followed call by call (`flow`). Of finite ones only the last few kinds of operators are kept, and
where the last one was called: enough to tell a measured spread from a predicted one, and to name the line that made it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import torch

from stayfinite.frameworks.torch.stats import dense
from stayfinite.frameworks.torch.tracing.drafts import Call
from stayfinite.frameworks.torch.tracing.flow import Flow, Maker
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.frameworks.torch.tracing.recipes import outputs_of
from stayfinite.records.tensor import TensorStats

_GENERATIONS = 4
"""Kinds that are kept. A frequency is three: a count, a total it is divided by, a root or a reciprocal."""

_CARRYING = frozenset({"move", "cast", "fill", "empty"})
"""Kinds that make nothing of their own."""


class Makers:
    """**Arguments**: `flow`: the ledger that holds the makers beside the sources; `frames` turns spots into places."""

    def __init__(self, flow: Flow, frames: Frames) -> None:
        self._flow, self._frames = flow, frames

    def note(self, call: Call, result: Any) -> None:
        """`call` has just given out `result`."""
        if call.recipe.listed or call.recipe.view:
            return
        inherited = next((found for operand in call.operands if (found := self.of(operand.tensor)) is not None), None)
        if call.recipe.kind in _CARRYING:
            maker = inherited
        else:
            older = inherited.kinds if inherited is not None else ()
            maker = Maker((call.recipe.kind, *older)[:_GENERATIONS], call.spot)
        if maker is None:
            return
        written = [operand.tensor for operand in call.operands if operand.name in call.recipe.written]
        for tensor in (*outputs_of(result), *written):
            part = dense(tensor)
            if part is not None:
                self._flow.record(part).maker = maker

    def of(self, tensor: torch.Tensor) -> Maker | None:
        """What made `tensor`; ``None`` for what was there before the step."""
        part = dense(tensor)
        record = self._flow.get(part) if part is not None else None
        return record.maker if record is not None else None

    def told(self, stats: TensorStats, tensor: torch.Tensor) -> TensorStats:
        """`stats` of `tensor` with what made it."""
        maker = self.of(tensor)
        kinds = maker.kinds if maker is not None else ()
        part = dense(tensor)
        if part is not None and part.numel() == 0 and part.untyped_storage().nbytes() > 0:
            kinds = ("move", *kinds)[:_GENERATIONS]  # a window without elements over memory that has some
        if not kinds:
            return stats
        place = self._frames.location(maker.spot) if maker is not None else None
        return msgspec.structs.replace(stats, made_by=kinds, made_at=place)
