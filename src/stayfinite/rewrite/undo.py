"""Undo steps for plain Python objects: what each holds now, and how it is put back in place."""

from __future__ import annotations

import array
import collections
import io
import random
import types
from collections.abc import Callable
from typing import Any

COPY_LIMIT = 4096
"""Lists and dicts with more elements that are only seen to grow are restored by length, not by copy: 4,096 references copy
in about 10 microseconds."""
LIST_LIMIT = 2**16
"""Lists in which elements are replaced are copied up to here. To copy and drop 16,000 references to tuples takes 0.15 ms
and 65,536 take 0.7 ms, if other work has filled the cache in between (measured on one busy core; a fifth of it if not)."""
DICT_LIMIT = 2**14
"""The same for dicts, which cost more: 0.2 ms at 16,000 elements, 0.8 ms at 50,000; in a loop that trains, 7 ms at 100,000."""


CONTAINERS = (list, dict, set, collections.deque)


FLAT = (array.array, bytearray)


Undo = Callable[[], None]


class Unrepeatable(Exception):
    """State cannot be put back; the message says what."""


def flat_undo(value: Any) -> Undo:
    kept = value[:]
    return lambda: value.__setitem__(slice(None), kept)


def container_undo(value: Any, *, replaced: bool = False) -> Undo:
    """`replaced`: its elements may be replaced, removed or moved; else it is only seen to grow."""
    if len(value) > COPY_LIMIT and isinstance(value, (list, dict)):
        if not replaced:
            return _long_container_undo(value)
        kind, limit = ("list", LIST_LIMIT) if isinstance(value, list) else ("dict", DICT_LIMIT)
        if len(value) > limit:
            return _refusal(f"it replaces elements of a {kind} of {len(value)}, which is too long to be copied in each step")
    if isinstance(value, dict):
        pairs = dict(value)

        def undo_dict() -> None:
            value.clear()
            for key, item in pairs.items():  # item by item: ordered and counting dicts have updates of their own
                value[key] = item

        return undo_dict
    if isinstance(value, list):
        items = list(value)
        return lambda: list.__setitem__(value, slice(None), items)
    if isinstance(value, set):
        members = set(value)

        def undo_set() -> None:
            value.clear()
            value.update(members)

        return undo_set
    queue = list(value)

    def undo_deque() -> None:
        value.clear()
        value.extend(queue)

    return undo_deque


def _long_container_undo(value: list[Any] | dict[Any, Any]) -> Undo:
    """A long list or dict is put back by dropping what was added at its end; of other changes most are noticed."""
    length = len(value)
    if isinstance(value, list):
        last = value[-1]

        def undo_list() -> None:
            if len(value) < length or value[length - 1] is not last:
                raise Unrepeatable(f"a list of {length} elements was changed other than at its end")
            del value[length:]

        return undo_list

    def undo_dict() -> None:
        if len(value) < length:
            raise Unrepeatable(f"keys were removed from a dict of {length}")
        for key in list(value)[length:]:
            del value[key]

    return undo_dict


def dict_undo(namespace: dict[str, Any]) -> Undo:
    before = dict(namespace)
    inner = [container_undo(value) for value in before.values() if isinstance(value, CONTAINERS)]

    def undo() -> None:
        namespace.clear()
        namespace.update(before)
        for step in inner:
            step()

    return undo


def attributes_undo(value: Any) -> Undo:
    before = dict(vars(value))

    def undo() -> None:
        vars(value).clear()
        vars(value).update(before)

    return undo


def cell_undo(cell: types.CellType) -> Undo:
    try:
        before = cell.cell_contents
    except ValueError:
        return lambda: None
    return lambda: setattr(cell, "cell_contents", before)


def generator_undo(generator: Any) -> Undo:
    if isinstance(generator, random.Random):
        state = generator.getstate()
        return lambda: generator.setstate(state)
    if hasattr(generator, "bit_generator"):
        bits = generator.bit_generator.state
        return lambda: setattr(generator.bit_generator, "state", bits)
    legacy = generator.get_state()
    return lambda: generator.set_state(legacy)


def file_undo(file: Any) -> Undo:
    """A file's position; what was added at its end is cut off again, and nothing that was there before."""
    try:
        if file.writable():
            file.flush()
        position = file.tell()
        end = file.seek(0, io.SEEK_END) if file.writable() else position
        file.seek(position)
    except OSError as error:
        return _refusal(f"it reads a file whose position cannot be known ({error})")

    def undo() -> None:
        if file.closed:
            raise Unrepeatable(f"it closes the file {getattr(file, 'name', '?')}")
        if file.writable():
            file.flush()
        if file.writable():
            file.seek(end)
            file.truncate()
        file.seek(position)

    return undo


def _refusal(reason: str) -> Undo:
    def undo() -> None:
        raise Unrepeatable(reason)

    return undo
