"""Which items of the data set the rows of a batch are.

From the loader that gave the batch; else, for batches cut by hand, from the tables and tensors the script's names hold: by
memory where the batch is a view, by the names that index them, or by content where a row is found in one place only.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from stayfinite.frameworks.torch.lookback.deliveries import Delivery
from stayfinite.rewrite.births.sight import array_of, is_array, memory_of

MOST_NUMBERS = 2**27
"""Elements of a container that is searched for a row: half a second."""


MOST_COMPARED = 64
"""Rows of a batch that must all be found in a container it is said to be cut from: a few equal numbers may be chance."""


class Item(NamedTuple):
    """One row of the batch in its data set. `inner` counts in the innermost data set; `outer` is what the loader's own data
    set is asked for."""

    row: int
    inner: int
    outer: Any


def innermost(dataset: Any, index: int) -> tuple[Any, int]:
    """Follow `index` through subsets, splits and concatenations to the data set that holds the item."""
    for _ in range(16):
        if isinstance(dataset, Subset):
            dataset, index = dataset.dataset, int(dataset.indices[index])
        elif isinstance(dataset, ConcatDataset):
            index = index + len(dataset) if index < 0 else index
            place = bisect.bisect_right(dataset.cumulative_sizes, index)
            index -= dataset.cumulative_sizes[place - 1] if place else 0
            dataset = dataset.datasets[place]
        else:
            break
    return dataset, index


def items_of(delivery: Delivery, rows: Sequence[int]) -> list[Item]:
    """The items behind `rows` of a delivered batch; empty if they cannot be known."""
    dataset = delivery.dataset()
    asked = delivery.indices
    if dataset is None or asked is None:
        return []
    if isinstance(asked, (list, tuple)) or _is_list(asked):
        given = list(asked)
        found = []
        for row in rows:
            if row < len(given) and _is_index(given[row]):
                found.append(Item(row, innermost(dataset, int(given[row]))[1], int(given[row])))
        return found
    if _is_index(asked):  # without automatic batches: the item is the batch
        return [Item(0, innermost(dataset, int(asked))[1], int(asked))]
    return []


def size_of(delivery: Delivery) -> int:
    """Rows of the batch, as far as its indices tell; 0 if they do not."""
    asked = delivery.indices
    return len(asked) if isinstance(asked, (list, tuple)) or _is_list(asked) else 0


def _is_list(value: Any) -> bool:
    return is_array(value) and value.ndim == 1


def _is_index(value: object) -> bool:
    return isinstance(value, (int, np.integer)) or (isinstance(value, Tensor) and value.numel() == 1 and not value.is_floating_point())


class Found(NamedTuple):
    """A container the batch was cut from. `name`: the expression that leads to it; `indices`: one per row asked for."""

    name: str
    container: Any
    indices: tuple[int, ...]


def cut_by_hand(batch: Any, rows: Sequence[int], names: Mapping[str, Any]) -> Found | None:
    """The container in `names` that `rows` of the array or tensor `batch` were taken from."""
    values = array_of(batch)
    if values is None or not values.ndim or not rows or max(rows) >= len(values):
        return None
    by_view = _by_memory(batch, values, rows, names)
    if by_view is not None:
        return by_view
    if values.ndim == 1 and values.dtype.kind in "iub":
        return None  # labels and numbers of rows: equal ones are everywhere
    wanted = [values[row] for row in rows]
    for name, container in containers(names):
        if container is batch:
            continue
        array = array_of(container)
        if array is None or array.ndim != values.ndim or array.shape[1:] != values.shape[1:] or len(array) <= len(values):
            continue
        if array.size > MOST_NUMBERS:
            continue
        places = [_places(array, one) for one in wanted]
        if not all(places) or not all(_places(array, values[row]) for row in range(min(len(values), MOST_COMPARED))):
            continue
        indices = _by_index_names(places, rows, len(values), names)
        if indices is None and all(len(one) == 1 for one in places):
            indices = tuple(one[0] for one in places)
        if indices is not None:
            return Found(name, container, indices)
    return None


def containers(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Arrays, tensors and tables in `names`, and in the attributes and items of what they hold."""
    for name, value in names.items():
        if name.startswith("_"):
            continue
        if is_array(value):
            yield name, value
        elif isinstance(value, (list, tuple)) and len(value) <= 16:
            yield from ((f"{name}[{at}]", item) for at, item in enumerate(value) if is_array(item))
        elif isinstance(value, dict) and len(value) <= 64:
            yield from ((f"{name}[{key!r}]", item) for key, item in value.items() if is_array(item))
        elif isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, type):
            for key, item in list(vars(value).items())[:64]:
                if is_array(item):
                    yield f"{name}.{key}", item
                elif isinstance(item, (list, tuple)) and len(item) <= 16:
                    yield from ((f"{name}.{key}[{at}]", part) for at, part in enumerate(item) if is_array(part))


def _by_memory(batch: Any, values: Any, rows: Sequence[int], names: Mapping[str, Any]) -> Found | None:
    """A batch that is a view tells its rows by its address."""
    place = memory_of(batch)
    if place[0] != "memory" or place[1] == 0:
        return None
    for name, container in containers(names):
        array = array_of(container)
        if array is None or container is batch or memory_of(container) != place or array.shape[1:] != values.shape[1:]:
            continue
        stride = array.strides[0] if array.ndim else 0
        if len(array) <= len(values) or not stride or not values.strides[0]:
            continue
        start = values.__array_interface__["data"][0] - array.__array_interface__["data"][0]
        found = tuple((start + row * values.strides[0]) // stride for row in rows)
        if all(0 <= one < len(array) for one in found):
            return Found(name, container, found)
    return None


def _places(array: np.ndarray[Any, Any], row: np.ndarray[Any, Any]) -> list[int]:
    """Where `row` stands in `array`; NaN equals NaN."""
    flat, one = array.reshape(len(array), -1), np.asarray(row).reshape(-1)
    if one.dtype != flat.dtype:
        flat = flat.astype(one.dtype)
    alive = np.arange(len(flat))
    for column in range(one.size):
        given = flat[alive, column]
        same = (given == one[column]) if one[column] == one[column] else (given != given)
        alive = alive[same]
        if not len(alive):
            break
        if len(alive) <= 8:
            rest = flat[alive]
            equal = ((rest == one) | ((rest != rest) & (one != one))).all(axis=1)
            return [int(i) for i in alive[equal]]
    return [int(i) for i in alive]


def _by_index_names(
    places: Sequence[Sequence[int]], rows: Sequence[int], size: int, names: Mapping[str, Any]
) -> tuple[int, ...] | None:
    """Indices by a list or array of whole numbers in `names` that has one for each row and fits the `places`."""
    for value in names.values():
        array = array_of(value) if isinstance(value, (list, range)) or is_array(value) else None
        if isinstance(value, range):
            array = np.asarray(value)
        if array is None or array.shape != (size,) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            continue
        if array.dtype.kind == "f" and 2 * len(np.unique(array)) <= size:
            continue  # classes, and no rows
        chosen = [int(array[row]) for row in rows]
        if all(one in place for one, place in zip(chosen, places, strict=True)):
            return tuple(chosen)
    return None
