"""Whole numbers of few bits that left their range and came back at its other end.

Such a result is a number like any other: 200 + 56 is 0 in bytes. So arithmetic that gives narrow whole numbers is computed a
second time in 64 bits, and what is another number there has left its range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from stayfinite.frameworks.torch.stats import NARROW_INTEGERS, dense, dtype_name, quietly
from stayfinite.frameworks.torch.tracing.drafts import Call
from stayfinite.frameworks.torch.tracing.flow import Flow, Wrapped
from stayfinite.frameworks.torch.tracing.frames import Frames
from stayfinite.frameworks.torch.tracing.phase import Phases
from stayfinite.frameworks.torch.tracing.recipes import Operand, outputs_of
from stayfinite.records.trace import Wrap

_ARITHMETIC = frozenset({"add", "sub", "mul", "pow", "neg", "abs", "sum", "cumsum", "prod", "matmul", "cast"})
_GENERATIONS = 4
"""Calls after which what was made of such a number is no longer traced back to it, as `makers` counts them."""
_KEPT = 64
_BUDGET = 50_000_000
"""Elements that may be computed a second time in one trace: about a second."""


class _Left(NamedTuple):
    call: Call
    dtype: str
    gone: int
    size: int
    exact: int
    became: int


class Wraps:
    """Notes, in the ledger `flow`, which memory holds numbers that came back at the other end of their range."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._left: dict[int, _Left] = {}
        self._budget = _BUDGET
        self._before: dict[int, torch.Tensor] = {}
        """`id` of an operand that the running call overwrites -> its values."""

    def begin(self, call: Call) -> None:
        """`call` is about to run: keep what it overwrites."""
        self._before = {
            id(operand.tensor): operand.tensor.clone()
            for operand in call.operands
            if operand.name in call.recipe.written and operand.tensor.dtype in NARROW_INTEGERS and self._may_ask(call)
        }

    def look(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Look at what `call` gave out for numbers that left their range, or that were made of such."""
        if call.recipe.listed or call.phase in ("backward", "optimizer"):
            return
        inherited = self._inherited(call)
        made = outputs_of(result)
        for output in made:
            part = dense(output)
            if part is None or not part.numel():
                continue
            found = inherited
            if found is not None and found.where is not None and (not call.recipe.aligned or found.where.shape != part.shape):
                found = found._replace(where=None)
            if part.dtype in NARROW_INTEGERS and len(made) == 1 and self._may_ask(call):
                found = self._again(call, args, kwargs, part) or found
            if found is not None or self._flow.get(part) is not None:
                self._flow.record(part).wrapped = found
        self._before = {}

    def behind(self, operand: Operand, at: tuple[int, ...] | None) -> int:
        """The call in which numbers of `operand` left their range, of its element `at` where that can be told; -1 if there is
        none."""
        part = dense(operand.tensor)
        record = self._flow.get(part) if part is not None else None
        known = record.wrapped if record is not None else None
        if part is None or known is None:
            return -1
        if at is not None and known.where is not None and known.where.shape == part.shape and not bool(known.where[at]):
            return -1
        return known.call

    def records(self, frames: Frames, phases: Phases) -> tuple[Wrap, ...]:
        """What left its range, in the order it was computed."""
        return tuple(
            Wrap(
                index=index, kind=left.call.recipe.kind, native_op=left.call.recipe.native,
                phase=phases.settle(left.call.phase, index, left.call.spot), dtype=left.dtype, count=left.gone, size=left.size,
                exact=left.exact, became=left.became, location=frames.location(left.call.spot), module=left.call.module,
            )
            for index, left in sorted(self._left.items())
        )

    def _inherited(self, call: Call) -> Wrapped | None:
        for operand in call.operands:
            part = dense(operand.tensor)
            record = self._flow.get(part) if part is not None else None
            if record is not None and record.wrapped is not None:
                known = record.wrapped
                if call.recipe.kind in ("move", "cast"):
                    return known
                return known._replace(age=known.age + 1) if known.age < _GENERATIONS else None
        return None

    def _may_ask(self, call: Call) -> bool:
        recipe = call.recipe
        if recipe.kind not in _ARITHMETIC or recipe.listed or recipe.control or recipe.shape_only or len(self._left) >= _KEPT:
            return False
        if not call.operands or any(operand.tensor.is_floating_point() or operand.tensor.is_complex() for operand in call.operands):
            return False
        self._budget -= sum(operand.tensor.numel() for operand in call.operands)
        return self._budget > 0

    def _again(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], part: torch.Tensor) -> Wrapped | None:
        """Compute the call in 64 bits: what is another number there; ``None`` if all are the same."""
        try:
            with quietly():
                wide = {name: self._wide(value) for name, value in kwargs.items() if name != "out"}
                exact = call.func(*(self._wide(value) for value in args), **wide)
                if not isinstance(exact, torch.Tensor) or exact.shape != part.shape:
                    return None
                where = exact != part.to(torch.int64)
                count = int(where.sum())
                if not count:
                    return None
                shown = int(exact[where].flatten()[0]), int(part[where].flatten()[0])
        except (RuntimeError, TypeError, NotImplementedError):  # not defined for these formats together
            return None
        self._left[call.index] = _Left(call, dtype_name(part.dtype), count, part.numel(), *shown)
        return Wrapped(call.index, where)

    def _wide(self, value: Any) -> Any:
        """`value` with 64 bits wherever it speaks of narrow whole numbers, as it was before the call."""
        if isinstance(value, torch.Tensor):
            kept = self._before.get(id(value), value).detach()
            return kept.to(torch.int64, copy=True) if kept.dtype in NARROW_INTEGERS else kept.clone()
        if isinstance(value, torch.dtype):
            return torch.int64 if value in NARROW_INTEGERS else value
        return type(value)(map(self._wide, value)) if type(value) in (list, tuple) else value
