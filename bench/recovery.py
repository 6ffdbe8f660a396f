"""How many failing trainings of the gallery end where their healthy twins do, with ``--on-incident recover``.

    python bench/recovery.py                       # one table: case, losses, ratio, what was done, status
    python bench/recovery.py --only digits,co2     # cases whose name contains one of these words
    python bench/recovery.py --json FILE           # the same as JSON, `-` for stdout
    python bench/recovery.py --twins FILE          # keep what the twins come to here, and do not run them again

The final loss is the one both scripts print (``final loss ...``), mostly that of one batch, and the median of the last tenth of
the losses that were differentiated. A training has recovered if it ran to its end with finite weights and one of the two is at
most a tenth above its twin's. Two kinds of cases are counted apart: those whose every step fails, whatever the weights are,
need another step and not another state; and the losses of those whose twin has other data or another loss (both begin more
than a factor of two apart) are in other units.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _cases import Case, read_gallery
from _processes import HERE, Ended, run

NEAR = 0.10
_PRINTED = re.compile(r"final loss[^-+\d]*([-+]?[\d.]+(?:e[-+]?\d+)?|nan|inf)", re.IGNORECASE)


def ended(script: Path, mode: str) -> dict[str, Any]:
    """How `script` ends: ``final``, ``tail``, ``finite``, ``code``, ``report``."""
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder:
        out = Path(folder) / "told.json"
        done: Ended = run([sys.executable, str(HERE / "_ending.py"), str(out), mode, str(script)])
        told = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    printed = [float(found) for found in _PRINTED.findall(done.stdout)]
    losses = [value for value in told.get("losses", ()) if math.isfinite(value)]
    tail = statistics.median(losses[-max(3, len(losses) // 10) :]) if losses else math.nan
    every = told.get("losses", [])
    return {
        "final": printed[-1] if printed and math.isfinite(printed[-1]) else None, "tail": tail,
        "first": every[0] if 0 < len(every) < 256 else None,  # as many readings are kept
        "finite": told.get("finite", False), "code": done.exit_code, "report": told.get("report", {}), "seconds": done.seconds,
        "copying": told.get("copying", 0.0), "stderr": done.stderr[-2000:],
    }


def row_of(case: Case, twins: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    twin = twins.get(case.name)
    if twin is None:
        found = ended(case.folder / "train_fixed.py", "stop")
        twin = twins[case.name] = {key: found[key] for key in ("final", "tail", "first")}
    healed = ended(case.folder / "train.py", "recover")
    pairs = {key: (healed[key], twin[key]) for key in ("final", "tail") if None not in (healed[key], twin[key])}
    which = min(pairs, key=lambda key: _excess(*pairs[key]))
    reached, wanted = pairs[which]
    begun, twin_begun = healed["first"], twin.get("first")
    units = bool(begun and twin_begun) and not 0.5 <= begun / twin_begun <= 2.0
    report = healed["report"]
    done = report.get("recovery") or {}
    status = report.get("status", "failed")
    ran = healed["code"] not in (2, 3, 4)
    excess = _excess(reached, wanted)
    symptom = case.expected["symptom"]
    return {
        "case": case.name, "symptom": symptom if isinstance(symptom, str) else symptom[0], "twin": wanted, "reached": reached,
        "ratio": reached / wanted if wanted else math.nan, "by": which, "skipped": done.get("left_out", 0),
        "rewinds": done.get("rewound", 0), "mended": done.get("mended", 0), "remedied": done.get("remedied", 0), "status": status,
        "code": healed["code"], "finite": healed["finite"], "ran": ran, "seconds": round(healed["seconds"], 1),
        "other_units": units, "by_construction": any("no step succeeds" in one["told"] for one in done.get("measures", ())),
        "recovered": bool(ran and healed["finite"] and status != "failed" and excess <= NEAR),
        "stderr": "" if healed["code"] == 0 else healed["stderr"],
    }


def _excess(reached: float, wanted: float) -> float:
    """By which share `reached` is above `wanted`."""
    return (reached - wanted) / max(abs(wanted), 1e-12) if math.isfinite(reached) else math.inf


def main(arguments: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--json", dest="json_file")
    parser.add_argument("--twins", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args(arguments)
    words = [word for word in asked.only.split(",") if word]
    cases = [case for case in read_gallery("") if case.has_twin and not case.benign and not case.missing]
    cases = [case for case in cases if not words or any(word in case.name for word in words)]
    twins = json.loads(asked.twins.read_text(encoding="utf-8")) if asked.twins and asked.twins.exists() else {}
    rows = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        for row in pool.map(lambda case: row_of(case, twins), cases):
            rows.append(row)
            print(line(row), file=sys.stderr if asked.json_file == "-" else sys.stdout, flush=True)
            if asked.twins:
                asked.twins.write_text(json.dumps(twins), encoding="utf-8")
    if asked.json_file:
        text = json.dumps(rows, indent=1)
        print(text) if asked.json_file == "-" else Path(asked.json_file).write_text(text, encoding="utf-8")
    print(summary(rows), file=sys.stderr if asked.json_file == "-" else sys.stdout)
    return 0 if all(row["finite"] for row in rows) else 1


def line(row: dict[str, Any]) -> str:
    """One row of the table as text."""
    return (
        f"{'+' if row['recovered'] else '-'} {row['case']:<28} {row['symptom']:<22} twin {row['twin']:<10.4g} "
        f"reached {row['reached']:<10.4g} x {row['ratio']:<8.3g} left out {row['skipped']:<4} mended {row['mended']:<3} "
        f"rewinds {row['rewinds']:<3} remedies {row['remedied']:<3} {row['status']:<10} exit {row['code']} "
        f"{'' if row['finite'] else 'NOT FINITE '}{'every step fails ' if row['by_construction'] else ''}"
        f"{'other units' if row['other_units'] else ''}"
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """The shares."""
    def share(some: list[dict[str, Any]]) -> str:
        good = sum(row["recovered"] for row in some)
        return f"{good} of {len(some)}" + (f" ({good / len(some):.0%})" if some else "")

    stopping = [row for row in rows if row["symptom"].startswith(("nonfinite", "numeric"))]
    able = [row for row in stopping if not (row["by_construction"] or row["other_units"])]
    return (
        f"recovered: {share(rows)}; of those with non-finite numbers {share(stopping)}, without those whose every step fails or whose "
        f"twin's loss is in other units {share(able)}; with non-finite weights at the end: {sum(not row['finite'] for row in rows)}"
    )


if __name__ == "__main__":
    sys.exit(main())
