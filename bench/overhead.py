#!/usr/bin/env python3
"""What watching costs per training step, beside what its peers cost: ratios to the bare step.

    python bench/overhead.py [--quick | --rounds N] [--workload NAME ...] [--json FILE]

Each script of `bench/workloads/` is loaded twice, as it is and with its loop wrapped as `stayfinite run` does it. All
arms train the same model with the same optimizer, a chunk of steps at a time, in an order drawn anew each round, on one
thread; the clock is CPU time of the process. The bare step is measured twice a round. A figure is the median over rounds
of (median step of the chunk / mean of the two bare chunks' median steps in that round), with quartiles. The row
`bare again` is the control, one bare chunk against the other: what differs from 1.00 there is noise.

A chunk is shorter than the 50 steps between two looks at the parameters, so its median step holds no look. The row
`looking every step` says what one costs; a fiftieth of its surplus belongs to the row `stayfinite`, and is added there.
"""

from __future__ import annotations

import argparse
import gc
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from _arms import PEERS, Around, Watched, load
from _pairs import Clocked, Row, interleave, machine, markdown, rows, save

from stayfinite.frameworks.torch.options import Options

FULL, QUICK = 31, 5
"""Rounds."""
CHUNK = 0.2
"""Seconds of bare CPU time on the clock per chunk; at least three steps, at most a hundred."""
NAMED = ("mlp", "cnn", "lm")
"""Workloads of 10 ms a step or more that the target is about; measured with peers."""
PLAIN = ("brief", "compiled", "foreign", "lbfgs", "accumulate")
"""Where watching weighs more, shown without peers."""
BARE, CONTROL, OURS, LOOKING = "bare", "bare again", "stayfinite", "stayfinite, looking every step"


def measure(name: str, rounds: int) -> list[Row]:
    """Rows of one workload."""
    workload = load(name)
    sessions = {OURS: Watched(), LOOKING: Watched(every=1)}
    with sessions[OURS](), sessions[LOOKING]():  # both see the optimizer being made
        trained, batches = workload.wrapped.prepare()
    ways: dict[str, tuple[Callable[..., None], Around]] = {
        BARE: (workload.bare.train, torch.enable_grad),
        CONTROL: (workload.bare.train, torch.enable_grad),
    }
    ways.update({arm: (workload.wrapped.train, session) for arm, session in sessions.items()})
    if name in NAMED:
        ways.update({arm: (workload.bare.train, around) for arm, around in PEERS.items()})

    micro = getattr(workload.bare, "MICRO", 1)  # a median must not hop between passes with and without an update

    def chunk(train: Callable[..., None], around: Around, timed: int) -> float:
        clocked = Clocked(batches, micro, timed * micro)
        gc.collect()
        with around():
            train(*trained, clocked)
        steps = [sum(clocked.steps[first : first + micro]) for first in range(0, len(clocked.steps), micro)]
        return sorted(steps)[len(steps) // 2]

    bare = min(chunk(*ways[BARE], 4) for _ in range(2))
    timed = max(3, min(100, round(CHUNK / bare)))
    for train, around in ways.values():  # caches, plans and compiled code are made outside the clock
        chunk(train, around, 1)
    values = interleave({arm: (lambda way=way: chunk(*way, timed)) for arm, way in ways.items()}, rounds)
    again = values.pop(CONTROL)
    control = rows(name, {BARE: values[BARE], CONTROL: again}, BARE)
    values[BARE] = [(one + other) / 2 for one, other in zip(values[BARE], again, strict=True)]
    table = {row.arm: row for row in [*control, *rows(name, values, BARE)]}
    look = max(0.0, table[LOOKING].median - table[OURS].median) / Options.every
    own = table[OURS]
    table[OURS] = Row(own.subject, own.arm, own.median + look, own.low + look, own.high + look, own.rounds, own.bare)
    return list(table.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds instead of {FULL}")
    parser.add_argument("--rounds", type=int, help="that many rounds")
    parser.add_argument("--workload", nargs="+", choices=[*NAMED, *PLAIN], default=[*NAMED, *PLAIN], metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Anomaly Detection has been enabled")
    rounds = options.rounds or (QUICK if options.quick else FULL)
    table: list[Row] = []
    for name in options.workload:
        table += measure(name, rounds)
    show(table)
    save(options.json, "overhead", table)


def show(table: list[Row]) -> None:
    """Print the figures, one column per workload."""
    names = list(dict.fromkeys(row.subject for row in table))
    bare = {row.subject: row.bare for row in table}
    cells = {(row.subject, row.arm): f"{row.median:.3f} ({row.low:.3f}-{row.high:.3f})" for row in table}
    arms = list(dict.fromkeys(row.arm for row in table))
    heads = ["step time / bare step time", *(f"{name}, {bare[name] * 1000:.3g} ms" for name in names)]
    print(markdown(heads, [[arm, *(cells.get((name, arm), "") for name in names)] for arm in arms]))
    print(f"\n{table[0].rounds} rounds; {machine()}")


if __name__ == "__main__":
    main()
