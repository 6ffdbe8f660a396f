"""Run every failing training of the gallery, and say what was proven and what was cured.

    python bench/cures.py                     # the open cases: one table and the figures
    python bench/cures.py --part sealed       # the sealed ones, reported apart
    python bench/cures.py --only digits,co2   # open cases whose name contains one of these words
    python bench/cures.py --every 5           # a sample: each fifth case, by name
    python bench/cures.py --json FILE         # the same as JSON, `-` for stdout

A line is a case: its cause, the rank the report gives it, the verdict of that cause, the first remedy that was verified,
how many replays and seconds all that took. The patch of the remedy is then applied to a copy of the case, as
`stayfinite fix` does it, and the patched script runs from its start, bare: it is healthy if it ends by itself with a finite
final loss and finite weights. The loss it ends with stands beside the one of the healthy twin.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from _cases import PARTS, Case, chosen_incident, read_gallery
from _figures import reliability, shown
from gallery import aligned, watched_run

NOT_BY_NATURE = frozenset({"transient-fault", "unknown"})
"""Causes that no experiment can confirm."""
MASKS = frozenset({"clamp-argument", "nan-to-num"})
"""Remedies that only hide a failure: none of them may be verified."""
_SAYS = re.compile(r"loss|energy|error|score|return|mae|rmse|nll|elbo", re.I)
_NUMBER = re.compile(r"[-+]?(?:nan|inf|\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
HEADS = ("case", "cause", "rank", "verdict", "cure", "healthy", "replays", "seconds")


def final_loss(text: str) -> float | None:
    """The last number of the last line that tells a loss, or an error, or whatever the script follows; of the last line of numbers,
    if none says so; ``None`` if there is no number."""
    lines = [line for line in text.splitlines() if not line.startswith("weights") and _NUMBER.search(line)]
    told = [line for line in lines if _SAYS.search(line)] or lines
    return float(_NUMBER.findall(told[-1])[-1]) if told else None


def bare_run(folder: Path, script: str, timeout: float) -> tuple[int, float | None]:
    """Exit code and final loss of a script that runs bare."""
    try:
        done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return -1, None
    return done.returncode, final_loss(done.stdout)


def patched_run(case: Case, recording: Path, remedy: str, timeout: float) -> dict[str, Any]:
    """Apply the fix of `remedy` to a copy of the case and run it from its start."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, case.name)
        shutil.copytree(case.folder, copy, ignore=shutil.ignore_patterns("__pycache__", "*.toml"))
        command = [sys.executable, "-m", "stayfinite", "fix", "--incident", str(recording), "--remedy", remedy,
                   "--unsafe", "--folder", str(copy)]
        applied = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=60, check=False)
        if applied.returncode:
            return {"applies": False, "healthy": False, "why": (applied.stderr.strip().splitlines() or ["?"])[-1]}
        code, loss = bare_run(copy, "train.py", timeout)
        finite = loss is not None and math.isfinite(loss)
        return {"applies": True, "healthy": code == 0 and finite, "code": code, "loss": loss}


def nearest_to_cure(remedies: list[dict[str, Any]]) -> str:
    """How far the best of these remedies came: a verdict, and whether there was anything to try."""
    verdicts = {one["verdict"] for one in remedies}
    return next((one for one in ("verified", "inconclusive", "refused", "failed", "not_tested") if one in verdicts), "no remedy")


def row_of(case: Case, timeout: float) -> dict[str, Any]:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as place:
        copy, recording = Path(place, "case", case.name), Path(place, "recording")
        shutil.copytree(case.folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        report, done = watched_run(copy, "train.py", timeout, recording, trials=True)
        wanted = case.expected.get("cause", [])
        row: dict[str, Any] = {"case": case.name, "cause": wanted if isinstance(wanted, str) else wanted[0], "seconds": done.seconds}
        incident = chosen_incident(report) if report is not None else None
        if report is None or incident is None:
            return {**row, "rank": None, "verdict": "unseen", "ranked": []}
        also = case.expected.get("also", {}).get("cause")  # what a referee found as right
        right = {wanted} if isinstance(wanted, str) else set(wanted)
        right |= {also} if also else set()
        causes = incident["causes"]
        own = next((one for one in causes if one["cause"] in right), None)
        verified = [one for one in incident["remedies"] if one["verdict"] == "verified"]
        row |= {
            "rank": next((place for place, one in enumerate(causes, start=1) if one["cause"] in right), None),
            "verdict": own["verdict"] if own else "not ranked",
            "reason": own["verdict_reason"] if own else "", "first": causes[0]["cause"] if causes else None,
            "first_verdict": causes[0]["verdict"] if causes else None,
            "others": [one["cause"] for one in causes if one["verdict"] == "confirmed" and one["cause"] not in right],
            "replays": sum(x["replays"] for one in causes for x in one["experiments"]),
            "cures": [one["remedy"] for one in verified],
            "refused": [one["remedy"] for one in incident["remedies"] if one["verdict"] == "refused"],
            "masks": [one["remedy"] for one in verified if one["remedy"] in MASKS],
            "ranked": [(one["probability"], one["cause"] in right) for one in causes],
            "nearest": nearest_to_cure(incident["remedies"]),
        }
        with_patch = next((one for one in verified if one["diff"]), None)
        if with_patch is not None:
            row["patch"] = patched_run(case, recording, with_patch["remedy"], timeout)
            row["patch"]["twin"] = bare_run(case.folder, "train_fixed.py", timeout)[1] if case.has_twin else None
        return row


def figures(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(what, share with its interval)."""
    testable = [row for row in rows if row["cause"] not in NOT_BY_NATURE]
    first = [row for row in testable if row["rank"] == 1]
    proven = [row for row in rows if row.get("first_verdict") == "confirmed"]
    uncured = Counter(("" if row["rank"] == 1 else "another cause first, ") + row.get("nearest", "unseen")
                      for row in rows if not row.get("cures"))
    patched = [row["patch"] for row in rows if "patch" in row]
    return [
        ("right cause first", shown(sum(row["rank"] == 1 for row in rows), len(rows))),
        ("confirmed, of those", shown(sum(row["verdict"] == "confirmed" for row in first), len(first))),
        ("right, of first causes that were confirmed", shown(sum(row["rank"] == 1 for row in proven), len(proven))),
        ("a verified cure", shown(sum(bool(row.get("cures")) for row in rows), len(rows))),
        ("without one: the best of the others", "; ".join(f"{what} {count}" for what, count in uncured.most_common()) or "none"),
        ("patches that apply", shown(sum(one["applies"] for one in patched), len(patched))),
        ("patched scripts that are healthy", shown(sum(one["healthy"] for one in patched), len(patched))),
        ("masking cures accepted", str(sum(bool(row.get("masks")) for row in rows))),
        ("most replays", str(max((row.get("replays", 0) for row in rows), default=0))),
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    patch = row.get("patch")
    healthy = "" if patch is None else "yes" if patch["healthy"] else "does not apply" if not patch["applies"] else "no"
    cures = row.get("cures") or [""]
    return (row["case"], row["cause"], str(row["rank"] or "-"), row["verdict"], cures[0], healthy, str(row.get("replays", "")),
            f"{row['seconds']:.1f}")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["open", "sealed"], default="open")
    parser.add_argument("--only", default="")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--json", dest="json_file")
    parser.add_argument("--timeout", type=float, default=180.0)
    asked = parser.parse_args()
    cases = [case for case in read_gallery(PARTS[0] if asked.part == "open" else PARTS[2]) if not case.benign and not case.missing]
    words = [word for word in asked.only.split(",") if word]
    if words and asked.part == "sealed":
        parser.error("--only never shows a sealed case")
    cases = [case for case in cases if not words or any(word in case.name for word in words)]
    rows = []
    for case in cases[:: max(1, asked.every)]:
        rows.append(row_of(case, asked.timeout))
        if asked.part == "open":
            print("  ".join(_cells(rows[-1])), file=sys.stderr, flush=True)
    if asked.json_file:
        text = json.dumps({"part": asked.part, "rows": rows, "figures": figures(rows)}, indent=1)
        print(text) if asked.json_file == "-" else Path(asked.json_file).write_text(text, encoding="utf-8")
    if asked.json_file != "-":
        if asked.part == "open":
            print("\n".join(aligned(HEADS, [_cells(row) for row in rows])))
        for what, share in figures(rows):
            print(f"{what}: {share}")
        print("\n".join(aligned(("probability", "causes", "mean", "right"), reliability(rows))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
