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
_waiting: list[str] | None = None
"""Lines to be shown later; ``None`` where they are shown at once."""


def strict() -> bool:
    """True if our own failures shall be raised."""
    return os.environ.get("STAYFINITE_STRICT", "") not in ("", "0")


def is_off(sensor: str) -> bool:
    """True if `sensor` failed before and was switched off."""
    return sensor in failures


def note_failure(sensor: str, error: BaseException, then: str = "training goes on") -> None:
    """Switch `sensor` off and say so in one line on stderr, the first time. `then`: how things go on without it."""
    if sensor in failures:
        return
    frame = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frame[-1].filename)}:{frame[-1].lineno})" if frame else ""
    failures[sensor] = f"{type(error).__name__}: {error}{place}"
    line = f"stayfinite: {sensor} failed and is switched off; {then}: {failures[sensor]}"
    if _waiting is None:
        _show(line)
    else:
        _waiting.append(line)


def _show(line: str) -> None:
    with suppress(Exception):  # a closed or full terminal must not end the training either
        print(line, file=sys.stderr)


@contextmanager
def told_afterwards() -> Iterator[None]:
    """Keep the lines about failures until the block is left: what is printed in it goes nowhere."""
    global _waiting
    before, _waiting = _waiting, []
    try:
        yield
    finally:
        lines, _waiting = _waiting or [], before
        for line in lines:
            _show(line)


@contextmanager
def shielded(sensor: str, then: str = "training goes on") -> Iterator[None]:
    """Run a block of ours inside the user's training. Control flow of ours and errors meant for users pass through."""
    try:
        yield
    except (LeaveAttempt, StayfiniteError):
        raise
    except Exception as error:
        if strict():
            raise
        note_failure(sensor, error, then)


def shielding(sensor: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    """`hook` with the same protection, and silent once its sensor is off."""

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if sensor in failures:
            return None
        with shielded(sensor):
            return hook(*args, **kwargs)

    return guarded
