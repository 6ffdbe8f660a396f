#!/usr/bin/env python3
"""A short script from start to end, under `stayfinite run` and bare: what starting costs.

    python bench/startup.py [--quick | --rounds N] [--json FILE]

Whole processes, one after the other in an order drawn anew each round. Figures are differences to the bare process of
the same round, in seconds, as median and quartiles; `bare again` is the control. The wall clock depends on how busy the
machine is; CPU time does so much less. The target is at most half a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from _pairs import Row, interleave, machine, markdown, rows, save
from _processes import bare, run, watched

FULL, QUICK = 15, 3
SCRIPTS = {
    "short.py": "20 steps of a small network",
    "lm.py": "16 steps of a transformer with 11 M parameters",
    "plain.py": "no framework at all",
}


def measure(script: str, rounds: int) -> list[Row]:
    """Rows of wall clock and CPU time for one script."""
    cpu: dict[str, list[float]] = {}

    def timed(arm: str, command: list[str]) -> Callable[[], float]:
        def once() -> float:
            ended = run(command)
            if ended.exit_code != 0:
                raise RuntimeError(f"{' '.join(command)} ended with {ended.exit_code}: {ended.stderr[-1000:]}")
            cpu.setdefault(arm, []).append(ended.cpu)
            return ended.seconds

        return once

    commands = {"bare": bare(script), "bare again": bare(script), "stayfinite": watched(script)}
    arms = {arm: timed(arm, command) for arm, command in commands.items()}
    for once in arms.values():  # byte code and disk caches
        once()
    cpu.clear()
    wall = interleave(arms, rounds)
    table = rows(f"{script}, wall clock", wall, "bare", difference=True)
    return table + rows(f"{script}, CPU time", cpu, "bare", difference=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds instead of {FULL}")
    parser.add_argument("--rounds", type=int, help="that many rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    table = [row for script in SCRIPTS for row in measure(script, options.rounds or (QUICK if options.quick else FULL))]
    show(table)
    save(options.json, "startup", table)


def show(table: list[Row]) -> None:
    """Print the figures."""
    lines = [
        [f"{row.subject}: {row.arm}", f"{row.bare:.2f}", f"{row.median:+.2f} ({row.low:+.2f} to {row.high:+.2f})"]
        for row in table
    ]
    print(markdown(["script", "bare, s", "more, s"], lines))
    print()
    for script, title in SCRIPTS.items():
        print(f"`{script}`: {title}.")
    print(f"\n{table[0].rounds} rounds; {machine()}")


if __name__ == "__main__":
    main()
