"""Numbers that cross between Python and tensors: constants that become tensors, `item()` that makes them numbers again,
numbers that stand in a call, and tests whose answer only Python sees.

The data flow is broken at these places, so it is mended here: a NaN that left through `item()` and comes back as an
argument has the `item()` for its source; a fill value the author wrote has none, and is a sentinel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from stayfinite.frameworks.torch import ops
from stayfinite.frameworks.torch.stats import (
    bad_mask,
    dense,
    describe,
    first_true,
    has_nan,
    is_bad,
    is_number,
)
from stayfinite.frameworks.torch.tracing.belonging import rows_of
from stayfinite.frameworks.torch.tracing.drafts import Call, Draft
from stayfinite.frameworks.torch.tracing.operands import shape_of, stored_text
from stayfinite.records.trace import Sink

if TYPE_CHECKING:
    from stayfinite.frameworks.torch.tracing.judge import Judge


class Crossings:
    """**Fields**: `asked`: the last single number the step tested while it was non-finite: a loss that is guarded and
    thrown away is never given to a backward."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._items: list[tuple[float, int]] = []
        self.asked: Sink | None = None

    @property
    def last_item(self) -> int | None:
        """The `item()` call that gave Python a non-finite number last."""
        return self._items[-1][1] if self._items else None

    def explain(self, draft: Draft, call: Call, shown: torch.Tensor) -> None:
        """Non-finite numbers that stand in a call that gave birth: fill values are sentinels, others came from
        somewhere."""
        numbers = [(name, value) for name, value in call.numbers if not math.isfinite(value)]
        if not numbers:
            return
        name, value = numbers[0]
        made = next(
            (
                index
                for seen, index in reversed(self._items)
                if seen == value or (math.isnan(seen) and math.isnan(value))
            ),
            None,
        )
        filling = draft.kind in ops.FILLING
        if made is not None and (math.isnan(value) or not filling):
            draft.sources.add(made)
            draft.born = 0
        elif filling or (math.isinf(value) and not has_nan(shown) and draft.phase != "optimizer"):
            draft.sentinel = True
        elif math.isnan(value) or draft.phase == "optimizer":
            named = self._judge.around.rate_name(value) if draft.phase == "optimizer" else None
            draft.sources.add(-1 - self._judge.around.scalar(named or name, value))
            draft.born = 0

    def constant(self, call: Call, result: Any) -> None:
        """A tensor made of Python numbers or of an array: `torch.tensor(...)`, `torch.from_numpy(...)`."""
        part = dense(result) if isinstance(result, torch.Tensor) and is_number(result) else None
        if part is None or ((record := self._judge.flow.get(part)) is not None and record.known) or not is_bad(part):
            return
        mask = bad_mask(part)
        draft = self._judge.drafts[call.index] = Draft.of_call(call, call.index, "fill")
        draft.output = describe(part, "output", first_true(mask))
        draft.samples = rows_of(self._judge.belonging, part, mask, self._judge.around.batch_size)
        self._judge.flow.write(part, call.index)
        array = self._judge.around.array_of(part)
        nan = has_nan(part)
        item = next((index for value, index in reversed(self._items) if math.isnan(value)), None)
        if array is not None:
            draft.sources.add(-1 - array)
        elif not nan:
            draft.sentinel, draft.born = True, int(mask.sum())
        elif item is not None:
            draft.sources.add(item)
        else:
            place = self._judge.frames.location(call.spot)
            shape = shape_of(place.expression)
            named = (shape.arguments or shape.operands or ("a number",))[-1 if shape.operands else 0]
            name = stored_text(place.code, place.expression) or named
            if part.dim():
                draft.sources.add(-1 - self._judge.around.leaf("other", name, part))
            else:
                draft.sources.add(-1 - self._judge.around.scalar(name, math.nan))
        self._judge.link(draft)

    def item(self, call: Call, value: Any) -> None:
        """`tensor.item()`: a number that leaves the data flow, and may come back as an argument."""
        if isinstance(value, float) and not math.isfinite(value):
            draft = self._judge.drafts[call.index] = Draft.of_call(call, call.index, "move")
            for one in call.inputs:
                draft.sources |= one.sources
            self._items.append((value, call.index))
            self._judge.link(draft)
            self.ask(call)

    def ask(self, call: Call) -> None:
        """A comparison or a test: no step of the data flow, but the author wants to know this number."""
        one = next((one for one in call.inputs if one.bad and one.part.numel() == 1), None)
        if one is not None and call.phase in ("open", "loss", "forward"):
            sources = one.sources or self._judge.sources(one.part, one.operand.name, call)
            made = [source for source in sources if source >= 0]
            self.asked = Sink(kind="loss", name="loss", stats=describe(one.part, "loss"), source=max(made or sources))
