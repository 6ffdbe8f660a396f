#!/usr/bin/env python3
"""How long after the first bad number the full report stands on the terminal.

    python bench/time_to_report.py [--quick | --rounds N] [--json FILE]

`workloads/poisoned.py` trains thirty healthy steps under `stayfinite run` and notes the clock just before the first bad
number exists. From there to the last line of the report lie: the rest of that step, two control replays, the replay
under the microscope, the search for origin and causes, and the page itself. The target is at most thirty bare steps and
one second; the step is that of the same process, before the fault. Wall clock, and CPU time to the end of the script.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path

from _pairs import machine, markdown, quartiles, save
from _processes import run, watched

FULL, QUICK = 7, 2
NAMES = ("brief", "mlp", "cnn", "lm")
STEPS, SECONDS = 30, 1.0
"""The target: at most so many steps and so many seconds."""
HALTED = 3


@dataclass(frozen=True)
class Row:
    """`wall` and `cpu`: seconds from the bad number to the report, as quartiles; `step`: seconds of a healthy step."""

    workload: str
    step: float
    low: float
    wall: float
    high: float
    cpu: float
    limit: float
    rounds: int


def once(name: str) -> tuple[float, float, float]:
    """Seconds of a step, wall seconds to the report, CPU seconds to the end of the script."""
    ended = run(watched("poisoned.py", name))
    if ended.exit_code != HALTED or "next" not in ended.stderr:
        raise RuntimeError(f"{name}: exit code {ended.exit_code}, no full report: {ended.stderr[-2000:]}")
    words = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines())
    clock, cpu = map(float, words["bad"].split())
    return float(words["step"]), ended.told - clock, float(words["end"]) - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds instead of {FULL}")
    parser.add_argument("--rounds", type=int, help="that many rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    rounds = options.rounds or (QUICK if options.quick else FULL)
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in NAMES}
    for _ in range(rounds):
        for name in NAMES:
            runs[name].append(once(name))
    table = []
    for name, seen in runs.items():
        step = statistics.median(one[0] for one in seen)
        low, wall, high = quartiles([one[1] for one in seen])
        cpu = statistics.median(one[2] for one in seen)
        table.append(Row(name, step, low, wall, high, cpu, STEPS * step + SECONDS, rounds))
    lines = [
        [row.workload, f"{row.step * 1000:.1f}", f"{row.wall:.2f} ({row.low:.2f}-{row.high:.2f})", f"{row.cpu:.2f}",
         f"{row.limit:.2f}"]
        for row in table
    ]
    print(markdown(["workload", "step, ms", "to the report, s", "CPU, s", "limit, s"], lines))
    print(f"\n{rounds} rounds; {machine()}")
    save(options.json, "time_to_report", table)


if __name__ == "__main__":
    main()
