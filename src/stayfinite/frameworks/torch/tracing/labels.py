"""Which rows of the batch each element of a tensor depends on: labels, how they combine, and how they lie in memory.

A label is a whole number: one row, two rows (a distance between samples), or `NONE`: no row in particular, as of a parameter
or of a mean over the batch. Labels of a tensor are kept in *reduced* form: an array with as many dimensions as the tensor, of
extent 1 wherever they do not change along a dimension, so that an image batch of any size needs one number for each image. In
memory they are kept as a `Pattern`, by address and not by tensor, so that views need no rule of their own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

Labels = np.ndarray[Any, np.dtype[np.int64]]

NONE = -1
_BITS = 24
_HIGH = (1 << _BITS) - 1
MOST_ROWS = _HIGH
"""Rows that can be told apart."""
MOST = 1 << 22
"""Labels that are kept of one tensor: 32 MiB. What needs more is not labelled."""


class Pattern(NamedTuple):
    """The labels of a piece of memory: byte b from `start` on has the label ``table[b // step % len(table)]``."""

    table: Labels
    step: int
    start: int = 0


def of_rows(rows: Any) -> Labels:
    """The labels of single `rows`."""
    numbers = np.asarray(rows, dtype=np.int64)
    return (numbers << _BITS) | numbers


def along(extent: int, dimension: int, dimensions: int) -> Labels:
    """Labels of a tensor whose rows run along `dimension`."""
    return of_rows(np.arange(extent)).reshape([extent if at == dimension else 1 for at in range(dimensions)])


def combine(*labels: Labels | None) -> Labels | None:
    """Labels of what depends on all of `labels`, element by element; ``None`` if there are none. What no row in particular
    gives to an element leaves it with the row of the others: a sample minus the mean of all is that sample's."""
    given = [one for one in labels if one is not None]
    if not given:
        return None
    found = given[0]
    for other in given[1:]:
        if other is not found:
            found = _both(found, other)
    return found


def _both(a: Labels, b: Labels) -> Labels:
    a, b = np.broadcast_arrays(a, b)
    found = np.where(a == NONE, b, a)
    clash = (a != b) & (a != NONE) & (b != NONE)
    if clash.any():
        one, other = a[clash], b[clash]
        low = np.minimum(one >> _BITS, other >> _BITS)
        high = np.maximum(one & _HIGH, other & _HIGH)
        two = _within(one, low, high) & _within(other, low, high)
        found[clash] = np.where(two, (low << _BITS) | high, NONE)
    return found


def _within(labels: Labels, low: Labels, high: Labels) -> Any:
    """True where the rows of `labels` are among `low` and `high`."""
    first, last = labels >> _BITS, labels & _HIGH
    return ((first == low) | (first == high)) & ((last == low) | (last == high))


def reduce(labels: Labels | None, axes: Iterable[int] | None = None, *, keep: bool = True) -> Labels | None:
    """Labels of what depends on everything along `axes` (all, if ``None``).

    Where all of several pairs share one row, the result is that row: the similarities of one sample with each other one are
    that sample's.
    """
    if labels is None:
        return None
    count = labels.ndim
    over = tuple(range(count)) if axes is None else tuple(sorted({axis % count for axis in axes})) if count else ()
    moved = np.moveaxis(labels, over, range(len(over)))
    rest = moved.shape[len(over) :]
    found = _fold(moved.reshape(math.prod(moved.shape[: len(over)]), math.prod(rest))).reshape(rest)
    return np.expand_dims(found, over) if keep else found


def _fold(labels: Labels) -> Labels:
    """The same along the first of two axes."""
    if len(labels) == 1:
        return labels[0]
    if not labels.size:
        return np.full(labels.shape[1], NONE, np.int64)
    none = labels == NONE
    low = np.where(none, _HIGH, labels >> _BITS).min(0)
    high = np.where(none, 0, labels & _HIGH).max(0)
    filled = np.where(none, (low << _BITS) | high, labels)
    first = labels[(~none).argmax(0), np.arange(labels.shape[1])]
    found = np.where(_within(filled, low, high).all(0), (low << _BITS) | high, NONE)
    for row in (first >> _BITS, first & _HIGH):
        shared = (none | (labels >> _BITS == row) | (labels & _HIGH == row)).all(0)
        several = (none | (labels == first)).all(0)
        found = np.where(shared & ~several, (row << _BITS) | row, found)
    return np.where(none.all(0), NONE, found)


def group(labels: Labels, places: Any, extent: int) -> Labels:
    """Labels of `extent` sums, of which element i of the flat `labels` goes into number ``places[i]``."""
    known = labels != NONE
    labels, places = labels[known], np.asarray(places)[known]
    low, high = np.full(extent, _HIGH, np.int64), np.full(extent, -1, np.int64)
    mixed = np.zeros(extent, bool)
    np.minimum.at(low, places, labels >> _BITS)
    np.maximum.at(high, places, labels & _HIGH)
    np.logical_or.at(mixed, places, ~_within(labels, low[places], high[places]))
    return np.where((high < 0) | mixed, NONE, (low << _BITS) | high)


def explain(labels: Labels) -> tuple[int, ...]:
    """The fewest rows that explain elements with `labels`, none of which may be `NONE` (then empty).

    A single row explains every pair it belongs to. Of pairs, the row that most of them share; all rows where no row
    stands out, as in a single pair.
    """
    distinct = np.unique(labels)
    if not distinct.size or distinct[0] < 0:
        return ()
    pairs = [(int(one) >> _BITS, int(one) & _HIGH) for one in distinct]
    rows = {low for low, high in pairs if low == high}
    left = [pair for pair in pairs if not rows & set(pair)]
    while left:
        (row, count), *others = Counter(row for pair in left for row in pair).most_common(2)
        if count > 1 and (not others or others[0][1] < count):
            rows.add(row)
        else:
            rows.update(row for pair in left for row in pair)
        left = [pair for pair in left if not rows & set(pair)]
    return tuple(sorted(rows))


# -- in memory -------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a dense tensor lies in its memory; `offset` and `strides` in elements of `size` bytes."""

    offset: int
    shape: torch.Size
    strides: tuple[int, ...]
    size: int

    def stretch(self) -> tuple[int, int]:
        """Its first byte and the one behind its last."""
        count = sum((extent - 1) * stride for extent, stride in zip(self.shape, self.strides, strict=True)) + 1
        return self.offset * self.size, (self.offset + count) * self.size


def place_of(tensor: torch.Tensor) -> Place:
    """Where a dense `tensor` lies."""
    return Place(tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.element_size())


def overlaps(labels: Labels, place: Place) -> bool:
    """True if elements of a tensor with `labels` that lies at `place` may share memory while their labels differ, as windows of
    a series do (`unfold`): memory does not tell their rows then."""
    lying = [(stride, extent, count) for stride, extent, count in zip(place.strides, place.shape, labels.shape, strict=True) if extent > 1]
    if any(stride == 0 and count > 1 for stride, _, count in lying):
        return True
    span = 0
    for stride, extent, _ in sorted(one for one in lying if one[0] > 0):
        if stride <= span:
            return True
        span += (extent - 1) * stride
    return False


def read(pattern: Pattern, place: Place) -> Labels | None:
    """The labels of a tensor that lies at `place` in memory with `pattern`, reduced; ``None`` if there are too many."""
    step, period = pattern.step, pattern.step * len(pattern.table)
    start = place.offset * place.size - pattern.start
    extents = place.shape
    strides = [stride * place.size for stride in place.strides]
    varying = [at for at, extent in enumerate(extents) if extent > 1 and strides[at] % period]
    inner = [at for at in varying if strides[at] % step]
    if start % step + sum((extents[at] - 1) * strides[at] for at in inner) < step:
        varying = [at for at in varying if at not in inner]
    shape = [extent if at in varying else min(extent, 1) for at, extent in enumerate(extents)]
    if math.prod(shape) > MOST:
        return None
    if 0 in shape:
        return np.full(shape, NONE, np.int64)
    places: Any = np.full([1] * len(shape), start, np.int64)
    for at in varying:
        steps = np.arange(shape[at], dtype=np.int64) * strides[at]
        places = places + steps.reshape([-1 if other == at else 1 for other in range(len(shape))])
    found: Labels = pattern.table[places // step % len(pattern.table)]
    return found.reshape(shape)


def pattern_of(labels: Labels, place: Place) -> Pattern | None:
    """The pattern of the stretch of memory that a tensor with `labels` lies in, whatever lies beside it; ``None`` if it would
    take too many, or nothing lies there."""
    if 0 in place.shape:
        return None
    begin, end = place.stretch()
    order = sorted(range(len(place.shape)), key=lambda at: (-place.strides[at], at))
    shape = [place.shape[at] for at in order]
    dense = [math.prod(shape[at + 1 :]) for at in range(len(shape))]
    if any(place.strides[at] != stride and place.shape[at] > 1 for at, stride in zip(order, dense, strict=True)):
        count = (end - begin) // place.size
        return _into(np.full(count, NONE, np.int64), labels, place, 0, begin) if count <= MOST else None
    arranged = labels.transpose(order)
    last = max((at for at, count in enumerate(arranged.shape) if count > 1), default=-1)
    first = next((at for at, count in enumerate(arranged.shape) if count > 1), 0)
    kept = shape[first : last + 1]
    if math.prod(kept) > MOST:
        return None
    table = np.broadcast_to(arranged.reshape(arranged.shape[first : last + 1]) if last >= 0 else arranged.reshape(()), kept)
    return Pattern(table.reshape(-1), place.size * math.prod(shape[last + 1 :] if last >= 0 else shape), begin)


def overlaid(labels: Labels, place: Place, extent: int, before: Pattern | None) -> Pattern | None:
    """The pattern of `extent` bytes of memory with the pattern `before`, in which what lies at `place` was written and has
    `labels` now; ``None`` if it would take too many."""
    count = extent // place.size
    if count > MOST or 0 in place.shape:
        return before
    table = np.full(count, NONE, np.int64)
    if before is not None:
        table = before.table[(np.arange(count, dtype=np.int64) * place.size - before.start) // before.step % len(before.table)]
    return _into(table, labels, place, place.offset, 0)


def _into(table: Labels, labels: Labels, place: Place, first: int, start: int) -> Pattern:
    """Write `labels` into `table` from its element `first` on, as they lie at `place`."""
    strides = [stride * table.itemsize for stride in place.strides]
    np.lib.stride_tricks.as_strided(table[first:], tuple(place.shape), strides)[...] = labels
    return Pattern(table, place.size, start)


def fits(labels: Labels, shape: Sequence[int]) -> bool:
    """True if `labels` are those of a tensor of that shape, in reduced form."""
    return labels.ndim == len(shape) and all(a in (1, b) for a, b in zip(labels.shape, shape, strict=True))
