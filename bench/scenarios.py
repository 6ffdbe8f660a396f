#!/usr/bin/env python3
"""Eleven faults and one benign pattern, under stayfinite and under its peers: who says so before the weights change?

    python bench/scenarios.py [--only NAME,...] [--json FILE]

The scenarios are the gallery cases whose `case.toml` names one. Each runs once per tool, in a process of its own; an
observer that no tool knows of reads weights and moments before and after every step. A cell says:

- `held`: the tool raised its alarm while the weights were still those of the last good step;
- `late`: it raised it afterwards;
- `harmless`: it reported the NaN loss, said that it does no harm, and let the training go on;
- `corrupt`: non-finite weights or moments, and no alarm;  `silent`: neither, where an alarm was due;
- `quiet`: rightly nothing;  `false alarm`: it stopped a training that nothing had harmed;
- `+ line`: the innermost line of the script that its message shows is the guilty one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from _cases import Case, read_gallery
from _pairs import machine, markdown, save

HERE = Path(__file__).resolve().parent
TOOLS = (
    "stayfinite",
    "loss check only",
    "clip_grad_norm_, error_if_nonfinite",
    "forward hooks, isfinite",
    "forward hooks, extremes of all",
    "anomaly mode",
    "isfinite on every operation",
)
TIMEOUT = 300


@dataclass(frozen=True)
class Cell:
    """One scenario under one tool. `word` is explained in the module; `line`: the right line was named."""

    scenario: str
    case: str
    tool: str
    word: str
    line: bool
    error: str | None

    def __str__(self) -> str:
        return f"{self.word} + line" if self.line else self.word


def observe(case: Case, tool: str) -> Cell:
    """Run `case` under `tool`."""
    scenario = case.expected["scenario"]
    with tempfile.TemporaryDirectory(prefix="scenario-") as scratch:
        folder = Path(os.path.realpath(scratch), "case")
        shutil.copytree(case.folder, folder)
        outcome = Path(scratch, "outcome.json")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE)])}
        command = [sys.executable, str(HERE / "_observed.py"), tool, str(outcome), str(folder / "train.py")]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT
        )
        if not outcome.is_file():
            raise RuntimeError(f"{case.name} under {tool} left no outcome: {done.stderr[-2000:]}")
        seen = json.loads(outcome.read_text(encoding="utf-8"))
    line = seen["line"] is not None and case.origin is not None and tuple(seen["line"]) == case.origin
    return Cell(scenario, case.name, tool, _word(case, seen), line, seen["error"])


def _word(case: Case, seen: dict[str, object]) -> str:
    if case.benign:
        return "false alarm" if seen["alarm"] else "quiet"
    if case.expected.get("harmless"):
        if seen["alarm"]:
            return "harmless" if seen.get("harmless") else "false alarm"
        return "corrupt" if seen["corrupt"] else "quiet"
    if seen["alarm"]:
        return "held" if seen["whole"] and not seen["corrupt"] else "late"
    return "corrupt" if seen["corrupt"] else "silent"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="NAME,...", help="these scenarios only")
    parser.add_argument("--tool", choices=TOOLS, action="append", help="this tool only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the cells there")
    options = parser.parse_args()
    wanted = {name for name in options.only.split(",") if name}
    cases = [case for case in read_gallery() if "scenario" in case.expected]
    cases = [case for case in cases if not wanted or case.expected["scenario"] in wanted]
    tools = options.tool or TOOLS
    cells = [observe(case, tool) for case in cases for tool in tools]
    show(cases, tools, cells)
    save(options.json, "scenarios", cells)


def show(cases: list[Case], tools: list[str] | tuple[str, ...], cells: list[Cell]) -> None:
    """Print the table and its sums."""
    at = {(cell.case, cell.tool): cell for cell in cells}
    names = {case.name: f"{case.expected['scenario']} (`{case.name}`)" for case in cases}
    lines = [[names[case.name], *(str(at[case.name, tool]) for tool in tools)] for case in cases]
    harmful = [case for case in cases if not case.benign and not case.expected.get("harmless")]
    faults = [case for case in cases if not case.benign]

    def count(word: str, among: list[Case], tool: str) -> str:
        return f"{sum(at[case.name, tool].word == word for case in among)} of {len(among)}"

    lines.append(["**alarm before the weights change**", *(count("held", harmful, tool) for tool in tools)])
    lined = [f"{sum(at[case.name, tool].line for case in faults)} of {len(faults)}" for tool in tools]
    lines.append(["**right line**", *lined])
    lines.append(["**weights corrupted unseen**", *(count("corrupt", faults, tool) for tool in tools)])
    lines.append(["**false alarms**", *(count("false alarm", cases, tool) for tool in tools)])
    print(markdown(["scenario", *tools], lines))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
