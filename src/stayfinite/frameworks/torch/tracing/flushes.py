"""Results that a half-precision format could not hold and made 0 of.

A zero says nothing by itself: a rectifier makes half of its outputs zero. So a call with zeros in a half-precision result
is computed a second time from the same operands in float32, and what is not 0 there was lost to the format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from stayfinite.frameworks.torch.stats import dense, dtype_name, quietly
from stayfinite.frameworks.torch.tracing.drafts import Call
from stayfinite.frameworks.torch.tracing.flow import Flow
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.frameworks.torch.tracing.phase import Phases
from stayfinite.frameworks.torch.tracing.recipes import outputs_of
from stayfinite.records.numbers import to_number
from stayfinite.records.trace import Flush

_HALF = frozenset({torch.float16, torch.bfloat16})
_NEVER = frozenset({"dropout", "sample", "fill", "empty", "move", "embedding", "scatter"})
"""Kinds whose zeros are drawn, filled in or carried, and those that could not be asked twice."""
_KEPT = 64
_BUDGET = 50_000_000
"""Elements that may be computed a second time in one trace: about a second."""


class _Lost(NamedTuple):
    call: Call
    dtype: str
    gone: int
    size: int
    largest: float


class Flushes:
    """Notes, in the ledger `flow`, which memory holds zeros that are none."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._lost: dict[int, _Lost] = {}
        self._budget = _BUDGET

    def look(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Look at what `call` gave out for zeros that are none, or that come from such."""
        inherited = self.behind([operand.tensor for operand in call.operands], anywhere=True)
        for place, output in enumerate(outputs_of(result)):
            part = dense(output) if output.is_floating_point() else None
            if part is None or (inherited < 0 and part.dtype not in _HALF) or not part.numel():
                continue
            zeros = part == 0
            found = inherited if bool(zeros.any()) else -1
            if part.dtype in _HALF and bool(zeros.any()) and self._may_ask(call, part):
                again = self._again(call, args, kwargs, place, zeros, part.dtype)
                found = again if again >= 0 else found
            self._flow.record(part).flushed = found

    def behind(self, tensors: Sequence[torch.Tensor], *, anywhere: bool = False) -> int:
        """The call that lost numbers which are zeros in one of `tensors`; -1 if there is none. `anywhere`: zeros need not
        be left in them."""
        for tensor in tensors:
            part = dense(tensor)
            record = self._flow.get(part) if part is not None else None
            if part is not None and record is not None and record.flushed >= 0 and (anywhere or bool((part == 0).any())):
                return record.flushed
        return -1

    def records(self, frames: Frames, phases: Phases) -> tuple[Flush, ...]:
        """What was lost, in the order it was computed."""
        return tuple(
            Flush(
                index=index, kind=self._kind(lost.call), native_op=lost.call.recipe.native,
                phase=phases.settle(lost.call.phase, index, lost.call.spot), dtype=lost.dtype, count=lost.gone,
                size=lost.size, largest=to_number(lost.largest), location=frames.location(self._spot(lost.call)),
                module=lost.call.module,
            )
            for index, lost in sorted(self._lost.items())
        )

    @staticmethod
    def _kind(call: Call) -> str:
        return "cast" if call.recipe.base in ("to_copy", "copy") else call.recipe.kind

    @staticmethod
    def _spot(call: Call) -> Any:
        return call.joined.spot if call.joined is not None and call.spot.engine else call.spot

    def _may_ask(self, call: Call, part: torch.Tensor) -> bool:
        recipe = call.recipe
        if recipe.written or recipe.view or recipe.listed or recipe.control or recipe.uninitialised or recipe.shape_only:
            return False
        if (recipe.kind in _NEVER and self._kind(call) != "cast") or len(self._lost) >= _KEPT:
            return False
        if torch.Tag.nondeterministic_seeded in call.func.tags or not call.operands:
            return False
        self._budget -= part.numel() + sum(operand.tensor.numel() for operand in call.operands)
        return self._budget > 0

    def _again(
        self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], place: int, zeros: torch.Tensor, dtype: torch.dtype
    ) -> int:
        """Compute the call in float32: its index if zeros are none there, else -1."""
        try:
            with quietly():
                wide = outputs_of(call.func(*_widened(args), **{name: _wide(value) for name, value in kwargs.items()}))
                exact = dense(wide[place])
                if exact is None or exact.shape != zeros.shape:
                    return -1
                gone = zeros & (exact != 0) & torch.isfinite(exact)
                count = int(gone.sum())
                if not count:
                    return -1
                largest = float(exact[gone].abs().max())
        except (RuntimeError, TypeError, NotImplementedError, IndexError):  # not defined for these formats together
            return -1
        self._lost[call.index] = _Lost(call, dtype_name(dtype), count, zeros.numel(), largest)
        return call.index


def _widened(values: Sequence[Any]) -> list[Any]:
    return [_wide(value) for value in values]


def _wide(value: Any) -> Any:
    """`value` with float32 wherever it speaks of a half-precision format."""
    if isinstance(value, torch.Tensor):
        return value.detach().float() if value.dtype in _HALF else value.detach()
    if isinstance(value, torch.dtype):
        return torch.float32 if value in _HALF else value
    if isinstance(value, (list, tuple)):
        return type(value)(_widened(value)) if type(value) in (list, tuple) else value
    return value
