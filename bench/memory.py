#!/usr/bin/env python3
"""How much memory watching takes: the largest resident set of a process that trains 50 M parameters, bare and watched.

    python bench/memory.py [--quick | --rounds N] [--json FILE]

Where gradients predict the update no copy of the parameters is kept. With an optimizer that torch.optim does not have
one copy of parameters and moments is kept while a step runs, and its row shows it. `at an incident` is the same training
with a NaN in its last batch: for the repetitions the state is copied then. `bare again` is the control.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from _pairs import Row, interleave, machine, markdown, rows, save
from _processes import bare, run, watched

FULL, QUICK = 5, 1
INCIDENT = "stayfinite, at an incident"
HALTED = 3
OPTIMIZERS = {
    "sgd": "SGD, no moments",
    "adamw": "AdamW, two moments",
    "foreign": "a signed-momentum optimizer of the script's own, one moment",
}
PARAMETERS = 12 * (2048 * 2048 + 2048) * 4 / 2**20
"""MiB of parameters in `workloads/large.py`."""


def measure(optimizer: str, rounds: int) -> list[Row]:
    """Differences of the peak in MiB."""
    commands = {
        "bare": bare("large.py", optimizer),
        "bare again": bare("large.py", optimizer),
        "stayfinite": watched("large.py", optimizer),
        INCIDENT: watched("large.py", optimizer, "poisoned"),
    }

    def peak(arm: str, command: list[str]) -> Callable[[], float]:
        def once() -> float:
            ended = run(command)
            if ended.exit_code != (HALTED if arm == INCIDENT else 0):
                raise RuntimeError(f"{' '.join(command)} ended with {ended.exit_code}: {ended.stderr[-1000:]}")
            return ended.peak

        return once

    values = interleave({arm: peak(arm, command) for arm, command in commands.items()}, rounds)
    return rows(optimizer, values, "bare", difference=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} round instead of {FULL}")
    parser.add_argument("--rounds", type=int, help="that many rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    table = [row for name in OPTIMIZERS for row in measure(name, options.rounds or (QUICK if options.quick else FULL))]
    lines = [
        [f"{OPTIMIZERS[row.subject]}: {row.arm}", f"{row.bare:.0f}",
         f"{row.median:+.0f} ({row.low:+.0f} to {row.high:+.0f})", f"{row.median / PARAMETERS:+.2f}"]
        for row in table
    ]
    print(markdown(["optimizer", "bare peak, MiB", "more, MiB", "in copies of the parameters"], lines))
    print(f"\nParameters: {PARAMETERS:.0f} MiB. {table[0].rounds} rounds; {machine()}")
    save(options.json, "memory", table)


if __name__ == "__main__":
    main()
