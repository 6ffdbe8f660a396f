"""Containers that a block reaches and is not seen to change: their lengths tell if it did, through another name.

``history = metrics["loss"]; history.append(x)`` or ``record(metrics, x)`` change a list under a name that means
another object elsewhere. A length is read in 30 nanoseconds, a copy costs as much per element; what has grown can be cut.
"""

from __future__ import annotations

import collections
from typing import Any

SMALL = 64
"""Sets and deques up to this size are copied: what was added to them cannot be told from the rest by its place."""


class Lengths:
    """The lengths of `containers` at one moment."""

    def __init__(self, containers: list[Any]) -> None:
        self._containers = containers
        self._lengths = [len(container) for container in containers]
        self._copies = [_copy(container) for container in containers]

    def restore(self) -> str | None:
        """Cut off what was added since. Returns what cannot be put back, or ``None``."""
        refusal = None
        for container, length, copy in zip(self._containers, self._lengths, self._copies, strict=True):
            if copy is not None:
                _refill(container, copy)
            elif len(container) > length and isinstance(container, (list, dict)):
                _cut(container, length)
            elif len(container) != length:
                refusal = f"a {type(container).__name__} of {length} elements was changed under another name"
        return refusal


def _copy(container: Any) -> list[Any] | None:
    return list(container) if isinstance(container, (set, collections.deque)) and len(container) <= SMALL else None


def _refill(container: Any, items: list[Any]) -> None:
    if list(container) != items:
        container.clear()
        (container.update if isinstance(container, set) else container.extend)(items)


def _cut(container: Any, length: int) -> None:
    if isinstance(container, list):
        list.__delitem__(container, slice(length, None))
        return
    for key in list(container)[length:]:
        dict.__delitem__(container, key)
