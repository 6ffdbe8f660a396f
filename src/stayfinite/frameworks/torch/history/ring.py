"""States from before the running step, at growing distances, within a budget of bytes and of time; and what the steps
since were given.

The oldest and the newest are always there; between them those stay that lie furthest apart for their age, so that the
distances grow by about the same factor. A copy is made at most so often that copying takes 3 % of the time that the training's
thread computes; what one copy takes is measured. Nothing that is kept holds a graph or a frame.

Bytes: a quarter of the free memory, at most 512 MiB, three quarters of it for states; ``STAYFINITE_HISTORY_LIMIT`` sets it
in MiB, 0 keeps nothing.
"""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Sequence

import torch

from stayfinite.frameworks.torch.history.kept import Kept, can_be_kept, identity, size_of
from stayfinite.frameworks.torch.history.windows import Remembered
from stayfinite.frameworks.torch.room import free_on
from stayfinite.frameworks.torch.subjects import Subjects
from stayfinite.rewrite.saved import Saved
from stayfinite.rewrite.undo import Undo

SHARE_OF_TIME = 0.03
SHARE_OF_MEMORY = 0.25
MOST_BYTES = 512 * 2**20
MOST = 16
"""States at most: with distances that double, sixteen reach back over sixty thousand steps."""


class Ring:
    """The states of one training that can be gone back to."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.windows: collections.deque[Remembered] = collections.deque()
        """What was done since the oldest of them, as far as there is room; oldest first."""
        self.refused = ""
        """Why nothing is kept, in words."""
        self.spent = 0.0
        """Seconds of the thread it took to make copies, so far."""
        self.copies = 0
        self._cost = 0.0
        self._not_before = 0.0
        self._limit: int | None = None
        self._batches = 0
        """Bytes that `windows` keep."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of the updates before which everything is kept, oldest first."""
        return tuple(one.step for one in self.kept)

    def note(self, step: int, subjects: Subjects, saved: Saved | None, gradients: Undo | None = None) -> None:
        """A window begins whose first update has number `step`: keep the state, if it is time for it."""
        started = time.thread_time()
        if started < self._not_before or self.refused or not subjects.parameters:
            return
        if self.kept and (self.kept[-1].step >= step or self.kept[-1].identity != identity(subjects)):
            self.kept = [one for one in self.kept if one.step < step and one.identity == identity(subjects)]
        if not can_be_kept(subjects):
            return
        limit, size = self._bytes(subjects) * 3 // 4, size_of(subjects)
        if size > limit:
            self.kept.clear()
            self.refused = f"a copy of the state takes {size / 2**20:.0f} MiB, and {limit / 2**20:.0f} may be used for history"
            return
        self.kept.append(Kept(step, subjects, saved, gradients))
        while len(self.kept) > MOST or sum(one.nbytes for one in self.kept) > limit:
            del self.kept[_dispensable(self.steps)]
        while self.windows and self.windows[0].last <= self.kept[0].step:
            self._batches -= self.windows.popleft().nbytes
        ended = time.thread_time()
        cost = ended - started
        self._cost = max(cost, 0.5 * (self._cost + cost)) if self.copies else cost
        self.spent += cost
        self.copies += 1
        self._not_before = ended + self._cost / SHARE_OF_TIME

    def remember(self, window: Remembered) -> None:
        """A window has taken its update, or was left out (without passes)."""
        if not self.kept or (self.windows and self.windows[-1].last != window.first):
            self._forget_windows()
        if self.kept and self._limit:
            self.windows.append(window)
            self._batches += window.nbytes
            while self._batches > self._limit // 4:
                self._batches -= self.windows.popleft().nbytes

    def since(self, step: int, steps: int, block: int) -> tuple[Kept, list[Remembered]] | str:
        """The latest state from which `steps` updates lead to the one before number `step`, that one included, with the windows
        between; or why there is none, in words."""
        kept = next((one for one in reversed(self.kept) if one.step <= step - steps + 1), None)
        windows = [one for one in self.windows if kept is not None and one.first >= kept.step and one.last <= step]
        if kept is None or not windows or windows[0].first != kept.step or windows[-1].last != step:
            return self.refused or f"only the {self.reach(step)} latest steps are remembered"
        reason = next((one.refused for one in windows if one.refused), "")
        if any(one.block != block for one in windows):
            reason = "another loop took updates between"
        elif not reason and any(given.is_changed() for one in windows for given in one.passes):
            reason = "a batch of an earlier step has been written to since"
        return reason or (kept, windows)

    def reach(self, step: int) -> int:
        """How many of the latest steps can be repeated, that of update number `step` included."""
        begun = {window.first for window in self.windows}
        return step + 1 - next((one.step for one in self.kept if one.step in begun), step)

    def _forget_windows(self) -> None:
        self.windows.clear()
        self._batches = 0

    def forget_after(self, step: int) -> None:
        """The updates from number `step` on are rewound: what was kept since is not part of the training any more."""
        self.kept = [one for one in self.kept if one.step <= step]
        self._forget_windows()

    def clear(self) -> None:
        """Another training begins."""
        self.kept.clear()
        self._forget_windows()
        self.refused, self._limit = "", None

    def before(self, step: int) -> Kept | None:
        """What is kept from before update number `step`."""
        return next((one for one in self.kept if one.step == step), None)

    def _bytes(self, subjects: Subjects) -> int:
        if self._limit is None:
            self._limit = _limit_on(subjects.parameters[0].device)
        return self._limit


def _limit_on(device: torch.device) -> int:
    text = os.environ.get("STAYFINITE_HISTORY_LIMIT", "").strip()
    if text.isdigit():
        return int(text) * 2**20
    free = free_on(device)
    return MOST_BYTES if free is None else min(MOST_BYTES, int(free * SHARE_OF_MEMORY))


def _dispensable(steps: Sequence[int]) -> int:
    """Which of `steps`, in rising order, to drop: never the newest, and the oldest only of two."""
    if len(steps) < 3:
        return 0
    newest = steps[-1]
    gaps = [(steps[at + 1] - steps[at - 1]) / (newest - steps[at + 1] + 1) for at in range(1, len(steps) - 1)]
    return 1 + min(range(len(gaps)), key=gaps.__getitem__)
