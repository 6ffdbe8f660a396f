"""Paired measurements on a noisy machine: interleaved arms, ratios within a round, medians and quartiles over them."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of a table: `median` of the paired values with its quartiles, over `rounds` rounds."""

    subject: str
    arm: str
    median: float
    low: float
    high: float
    rounds: int
    bare: float
    """The bare value in its own unit (seconds or MiB), median over rounds."""


class Clocked:
    """Gives the same batches again and again: `warm` steps unclocked, then `timed` steps on the clock.

    The clock is CPU time of the process, read between two batches, so the loop that is measured is not touched.
    """

    def __init__(self, batches: Sequence[Any], warm: int, timed: int) -> None:
        self._batches, self._warm, self._timed = batches, warm, timed
        self.steps: list[float] = []
        """Seconds of CPU time per step."""

    def __iter__(self) -> Iterator[Any]:
        for number in range(self._warm + self._timed):
            begun = time.process_time()
            yield self._batches[number % len(self._batches)]
            if number >= self._warm:
                self.steps.append(time.process_time() - begun)


def interleave(arms: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure every arm once a round, in an order drawn anew each round. Returns arm -> one value per round."""
    order = list(arms)
    drawn = random.Random()  # no seed: an order that favours one arm must not come back in every run
    values: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        drawn.shuffle(order)
        for name in order:
            values[name].append(arms[name]())
    return values


def rows(subject: str, values: dict[str, list[float]], against: str, *, difference: bool = False) -> list[Row]:
    """Rows for all arms but `against`: the ratio (or `difference`) to it within each round."""
    reference = values[against]
    table = []
    for arm, own in values.items():
        if arm == against:
            continue
        paired = [a - b if difference else a / b for a, b in zip(own, reference, strict=True)]
        low, median, high = quartiles(paired)
        table.append(Row(subject, arm, median, low, high, len(paired), statistics.median(reference)))
    return table


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, rule, *lines))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    return {
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def save(file: Path | None, name: str, table: Sequence[Any]) -> None:
    """Write `table` (dataclass instances) and the machine as JSON, if a file was asked for."""
    if file is not None:
        text = json.dumps({"benchmark": name, "machine": machine(), "rows": [asdict(row) for row in table]}, indent=2)
        file.write_text(text + "\n", encoding="utf-8")
