"""How long the user's script has run, without the time that went into looking at what failed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Runs from now on."""

    def __init__(self) -> None:
        self._began = _now()
        self._paused: tuple[float, float] | None = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is spent on incidents and surveys does not count."""
        if self._paused is not None:
            yield
            return
        self._paused = wall, work = _now()
        try:
            yield
        finally:
            now, self._paused = _now(), None
            self._began = self._began[0] + now[0] - wall, self._began[1] + now[1] - work

    @property
    def ran(self) -> float:
        """Seconds that the script itself has run, or worked if that is less: what it reads from a slow disk when it begins, its
        libraries above all, lies in memory when it runs again."""
        now = self._paused or _now()
        return min(now[0] - self._began[0], now[1] - self._began[1])


def _now() -> tuple[float, float]:
    """Seconds by the wall clock, and of this process's work on all its threads."""
    return time.monotonic(), time.process_time()
