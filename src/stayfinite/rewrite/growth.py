"""Containers that a block reaches and is not seen to change: their lengths tell if it did, through another name.

``history = metrics["loss"]; history.append(x)`` or ``record(metrics, x)`` change a list under a name that means
another object elsewhere. A length is read in 30 nanoseconds, a copy costs as much per element; what has grown can be cut.
"""

from __future__ import annotations

from typing import Any

SMALL = 64
"""Sets and deques up to this size are copied: what was added to them cannot be told from the rest by its place."""


class Lengths:
    """The lengths of `rows` (lists and dicts) at one moment, and what is in `bags` (sets and deques)."""

    def __init__(self, rows: list[Any], bags: list[Any]) -> None:
        self._rows = rows
        self._lengths = list(map(len, rows))
        self._bags = [(bag, len(bag), list(bag) if len(bag) <= SMALL else None) for bag in bags]

    def restore(self) -> str | None:
        """Cut off what was added since. Returns what cannot be put back, or ``None``."""
        refusal = None
        for row, length in zip(self._rows, self._lengths, strict=True):
            if len(row) > length:
                _cut(row, length)
            elif len(row) < length:
                refusal = _refusal(row, length)
        for bag, length, items in self._bags:
            if items is not None:
                _refill(bag, items)
            elif len(bag) != length:
                refusal = _refusal(bag, length)
        return refusal


def _refusal(container: Any, length: int) -> str:
    return f"a {type(container).__name__} of {length} elements was changed under another name"


def _refill(bag: Any, items: list[Any]) -> None:
    if len(bag) != len(items) or any(one is not other for one, other in zip(bag, items, strict=True)):
        bag.clear()
        (bag.update if isinstance(bag, set) else bag.extend)(items)


def _cut(row: Any, length: int) -> None:
    if isinstance(row, list):
        list.__delitem__(row, slice(length, None))
        return
    for key in list(row)[length:]:
        dict.__delitem__(row, key)
