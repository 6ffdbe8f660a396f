"""The one place where a failure of ours is caught and counted.

A guest never breaks the house: whatever goes wrong in a sensor is logged once, the sensor is switched off, the report
says so, and the user's training goes on. ``STAYFINITE_STRICT=1`` re-raises instead; the tests set it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from stayfinite.errors import LeaveAttempt, StayfiniteError

failures: dict[str, str] = {}
"""Sensor name -> one line of what went wrong. A sensor in here is off."""


def strict() -> bool:
    """True if our own failures shall be raised."""
    return os.environ.get("STAYFINITE_STRICT", "") not in ("", "0")


def is_off(sensor: str) -> bool:
    """True if `sensor` failed before and was switched off."""
    return sensor in failures


def note_failure(sensor: str, error: BaseException) -> None:
    """Switch `sensor` off and say so in one line on stderr, the first time."""
    if sensor in failures:
        return
    frame = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frame[-1].filename)}:{frame[-1].lineno})" if frame else ""
    failures[sensor] = f"{type(error).__name__}: {error}{place}"
    with suppress(Exception):  # a closed or full terminal must not end the training either
        print(f"stayfinite: {sensor} failed and is switched off; training goes on: {failures[sensor]}", file=sys.stderr)


@contextmanager
def shielded(sensor: str) -> Iterator[None]:
    """Run a block of ours inside the user's training. Control flow of ours and errors meant for users pass through."""
    try:
        yield
    except (LeaveAttempt, StayfiniteError):
        raise
    except Exception as error:
        if strict():
            raise
        note_failure(sensor, error)


def shielding(sensor: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    """`hook` with the same protection, and silent once its sensor is off."""

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if sensor in failures:
            return None
        with shielded(sensor):
            return hook(*args, **kwargs)

    return guarded
