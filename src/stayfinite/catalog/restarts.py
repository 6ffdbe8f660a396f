"""Rates that come back: a cycle of a schedule ends and the next one begins.

A restart is meant to throw the weights out of where they are, so that the loss leaves its best for a while. That it does not
come back cannot be told from the loss of the cycle before.
"""

from __future__ import annotations

FELL = 0.1
"""Share of the highest rate so far that ends a cycle: schedules that halve a rate now and then, and warm it up again a little,
have none."""
CAME_BACK = 0.3
"""Share of it from which the next one begins: cycles may become lower. Above the highest there is no cycle: a rate that no step
was taken with before is no restart."""


class Restarts:
    """The rates of one parameter group, one after the other."""

    __slots__ = ("_highest", "_lowest")

    def __init__(self) -> None:
        self._highest = 0.0
        self._lowest = 0.0

    def update(self, rate: float) -> bool:
        """**Returns** True at the first `rate` of a new cycle. Rates that are not finite or negative are no business of this."""
        if not 0.0 <= rate < float("inf"):
            return False
        if rate > self._highest:
            # rising by the spacing of numbers is not rising: a cosine rarely comes back to the very same number
            risen = rate > self._highest * 1.000001
            fell = self._lowest <= FELL * self._highest
            self._highest = self._lowest = rate
            return fell and not risen
        if self._lowest <= FELL * self._highest and 0.0 < CAME_BACK * self._highest <= rate:
            self._lowest = rate
            return True
        self._lowest = min(self._lowest, rate)
        return False
