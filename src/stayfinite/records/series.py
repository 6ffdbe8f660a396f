"""Numbers over steps: what sensors and log readers deliver and detectors judge."""

from __future__ import annotations

import msgspec

from stayfinite.records.numbers import Number


class Reading(msgspec.Struct, frozen=True, tag="reading"):
    """One number of one series at one step (0-based count of attempted updates)."""

    series: str
    step: int
    value: Number


class Window(msgspec.Struct, frozen=True, tag="window"):
    """The latest readings of one series, oldest first. `steps` and `values` have equal length."""

    series: str
    steps: tuple[int, ...]
    values: tuple[Number, ...]
