#!/usr/bin/env python3
"""How much of a healthy watched step is spent inside our own calls: less noisy than a ratio of two runs, and coarser.

    python bench/inside.py [--steps N] [--json FILE]

The clock is read round each outermost call of ours in a step. Not seen are what the rewritten loop itself adds (a
generator, a `with`) and what our reading of memory costs the caches. Seen, although bare runs pay it elsewhere, is the
freeing of the last step's graph: it happens where we look at the script's names. A figure is the median over steps of
the time inside, divided by the rest of that step.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _arms import Watched, load
from _pairs import machine, markdown, quartiles, save

from stayfinite.frameworks.torch.live import Live
from stayfinite.frameworks.torch.session import Session

NAMES = ("mlp", "cnn", "lm", "brief")
CALLS: tuple[tuple[Any, str], ...] = (
    (Session, "_open"), (Session, "_leave_live"), (Session, "_close_pass"), (Live, "before_backward"),
    (Live, "after_backward"), (Live, "before_step"), (Live, "after_step"), (Live, "after_zero_grad"),
)
WARM = 3


@dataclass(frozen=True)
class Row:
    """`share`: time inside our calls / the rest of the step, with quartiles; `inside`: milliseconds."""

    workload: str
    low: float
    share: float
    high: float
    inside: float
    steps: int


class Spent:
    """Seconds spent inside the calls since it was last taken."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, on the clock."""

        def on_the_clock(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self._seconds += time.perf_counter() - begun

        return on_the_clock

    def take(self) -> float:
        """The seconds, and begin anew."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def measure(name: str, steps: int, spent: Spent) -> Row:
    """One line of the table."""
    workload, watched = load(name), Watched()
    with watched():
        trained, batches = workload.wrapped.prepare()
    seen: list[tuple[float, float]] = []

    def served() -> Any:
        for number in range(WARM + steps):
            spent.take()
            begun = time.perf_counter()
            yield batches[number % len(batches)]
            seen.append((spent.take(), time.perf_counter() - begun))

    with watched():
        workload.wrapped.train(*trained, served())
    low, share, high = quartiles([inside / (whole - inside) for inside, whole in seen[WARM:]])
    return Row(name, low, share, high, 1000 * quartiles([inside for inside, _ in seen[WARM:]])[1], steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="steps of each workload (default 60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spent = Spent()
    for owner, call in CALLS:
        setattr(owner, call, spent.timed(getattr(owner, call)))
    table = [measure(name, options.steps, spent) for name in NAMES]
    lines = [[row.workload, f"{row.inside:.2f}", f"{row.share:.1%} ({row.low:.1%}-{row.high:.1%})"] for row in table]
    print(markdown(["workload", "inside our calls, ms", "of the rest of the step"], lines))
    print(f"\n{options.steps} steps; {machine()}")
    save(options.json, "inside", table)


if __name__ == "__main__":
    main()
