"""A stored step with fewer passes and fewer samples, for as long as it still fails.

What a step needs is not reasoned about but tried: whoever asks brings a test, and nothing is left out that did not pass it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, tensor


@dataclass(frozen=True)
class Step:
    """A stored step: its layout (``case.json``) and its tensors by key."""

    layout: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Smallest:
    """The smallest step that was seen to fail.

    `passes`: the numbers of those kept, `rows`: the samples kept, counted in the batch of the run; ``None`` for both where
    nothing could be left out. `why_not`: why samples could not be left out, in words.
    """

    step: Step
    passes: tuple[int, ...] | None = None
    rows: tuple[int, ...] | None = None
    why_not: str = ""


def shrink(step: Step, size: int | None, guilty: Sequence[int], fails: Callable[[Step], bool | None]) -> Smallest:
    """The smallest step made of `step` that `fails`.

    **Arguments**: `size`, the samples in a batch; `guilty`, those that are known to fail, which are tried first; `fails`
    runs a candidate: whether it fails as `step` does, ``None`` when there is no time for another one.
    """
    passes: tuple[int, ...] | None = None
    for number in reversed(range(len(step.layout["passes"]))):
        if len(step.layout["passes"]) > 1 and fails(alone := with_pass(step, number)):
            step, passes = alone, (number,)
            break
    if size is None or size < 2:
        return Smallest(step, passes, why_not="the batch has one sample" if size == 1 else "no batch was recognised in the step")
    if with_rows(step, range(size), size) is None:
        return Smallest(step, passes, why_not="the loop is not handed a batch: its body cuts one out of what it has")

    def failing(rows: Sequence[int]) -> bool | None:
        candidate = with_rows(step, rows, size)
        return candidate is not None and fails(candidate)

    rows = list(range(size))
    known = sorted({row for row in guilty if 0 <= row < size})
    if known and len(known) < size and failing(known):
        rows = known
    rows = _fewest(rows, failing)
    if len(rows) == size:
        return Smallest(step, passes, why_not="with any part of the batch left out the step does not fail in the same way")
    found = with_rows(step, rows, size)
    assert found is not None
    return Smallest(found, passes, tuple(rows))


def _fewest(rows: list[int], failing: Callable[[Sequence[int]], bool | None]) -> list[int]:
    """`rows` with pieces left out: halves first, then ever smaller ones. (Delta debugging: Zeller and Hildebrandt, "Simplifying
    and isolating failure-inducing input", IEEE TSE 28(2), 2002.)"""
    pieces = 2
    while len(rows) > 1:
        length = math.ceil(len(rows) / pieces)
        cut = [rows[at : at + length] for at in range(0, len(rows), length)]
        candidates = [*cut, *([row for row in rows if row not in piece] for piece in cut if len(cut) > 2)]
        for candidate in candidates:
            answer = failing(candidate)
            if answer is None:
                return rows
            if answer:
                pieces = 2 if candidate in cut else max(pieces - 1, 2)
                rows = candidate
                break
        else:
            if length == 1:
                return rows
            pieces = min(2 * pieces, len(rows))
    return rows


def with_pass(step: Step, number: int) -> Step:
    """`step` with pass `number` alone, as if the optimizer had been called after it."""
    return Step({**step.layout, "passes": [step.layout["passes"][number]]}, step.tensors)


def with_rows(step: Step, rows: Sequence[int], size: int) -> Step | None:
    """`step` with these samples of the batches that its passes are handed; ``None`` if they are handed none.

    A batch is what has `size` elements along its first dimension: tensors, arrays, lists. What else in the stored state
    refers to the same memory (a whole data set that fits into one batch) keeps all of its elements.
    """
    handed = [part for one in step.layout["passes"] for part in (one["names"], one["items"])]
    outside = {
        key for name, part in step.layout.items() if name != "passes" for key in _keys(part)
    } | {key for one in step.layout["passes"] for name, part in one.items() if name not in ("names", "items") for key in _keys(part)}
    chosen = tensor(list(rows))
    keys = {key for part in handed for key in _keys(part) if key not in outside and _has_rows(step.tensors.get(key), size)}
    lists = any(_is_batch(node, size) for part in handed for node in _nodes(part))
    if not keys and not lists:
        return None
    tensors = {key: value[chosen].contiguous() if key in keys else value for key, value in step.tensors.items()}
    layout = {
        **step.layout,
        "passes": [
            {**one, "names": _fewer(one["names"], rows, size), "items": [_fewer(item, rows, size) for item in one["items"]]}
            for one in step.layout["passes"]
        ],
    }
    return Step(layout, tensors)


def _has_rows(value: Tensor | None, size: int) -> bool:
    return value is not None and value.dim() > 0 and value.shape[0] == size


def _is_batch(node: Any, size: int) -> bool:
    """True for a list of samples. A list in which each sample is written out is one; a tuple is several things, not a batch."""
    return isinstance(node, dict) and node.get("kind") == "list" and len(node["value"]) == size


def _nodes(part: Any) -> Iterator[Any]:
    yield part
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _nodes(one)


def _keys(part: Any) -> Iterator[str]:
    """The keys of the tensors that `part` of a layout refers to; those stored as bytes have no rows and are left out."""
    for node in _nodes(part):
        if isinstance(node, dict) and node.get("kind") in ("tensor", "array", "numbers") and "bits_of" not in node:
            yield node["value"]


def _fewer(part: Any, rows: Sequence[int], size: int) -> Any:
    """`part` with these elements of each list of samples in it."""
    if isinstance(part, dict):
        if _is_batch(part, size):
            return {**part, "value": [part["value"][row] for row in rows]}
        return {name: _fewer(one, rows, size) for name, one in part.items()}
    return [_fewer(one, rows, size) for one in part] if isinstance(part, list) else part
