"""Keeps the latest readings and asks the finite detectors about each."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from stayfinite.records.numbers import to_number
from stayfinite.records.series import Window

DEPTH = 256
"""Readings kept per series: enough to see a ramp of a few hundred steps, 4 kB per series."""


class Monitor:
    """The readings of one run: a ring per series. Costs one append per reading."""

    def __init__(self) -> None:
        self._rings: dict[str, collections.deque[tuple[int, float]]] = {}

    def read(self, series: str, step: int, value: float) -> None:
        """Add one reading."""
        ring = self._rings.get(series)
        if ring is None:
            ring = self._rings[series] = collections.deque(maxlen=DEPTH)
        ring.append((step, value))

    def windows(self) -> tuple[Window, ...]:
        """All series as records, in the order they were first read."""
        return tuple(_window(series, ring) for series, ring in self._rings.items())


def _window(series: str, ring: Iterable[tuple[int, float]]) -> Window:
    pairs = list(ring)
    return Window(
        series=series,
        steps=tuple(step for step, _ in pairs),
        values=tuple(to_number(value) for _, value in pairs),
    )
