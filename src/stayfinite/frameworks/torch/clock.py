"""How long the user's script has run, without the time that went into looking at what failed."""

from __future__ import annotations

import time


class Clock:
    """Runs from now on. `away`: seconds that were spent on incidents and surveys, by whoever spent them."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.away = 0.0

    @property
    def ran(self) -> float:
        """Seconds that the script itself has run."""
        return time.monotonic() - self._began - self.away
