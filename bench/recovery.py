"""How many failing trainings of the gallery end where their healthy twins do, with ``--on-incident recover``.

    python bench/recovery.py                       # one table: case, losses, ratio, what was done, status
    python bench/recovery.py --only digits,co2     # cases whose name contains one of these words
    python bench/recovery.py --shuffled SEED       # in random order: what was measured when it is stopped is a fair sample
    python bench/recovery.py --json FILE           # the same as JSON, `-` for stdout
    python bench/recovery.py --twins FILE          # keep what the twins come to here, and do not run them again

The final loss is the one both scripts print (``final loss ...``), mostly that of one batch, and the median of the last tenth of
the losses that were differentiated. A training has recovered if it ran to its end with finite weights and one of the two is at
most a tenth above its twin's. A loss of exactly 0 is none that was reached: everything was taken from it. Nor is one far below zero,
where no loss of the twin ever was: it has lost its floor. Scripts run with the defaults of ``stayfinite run``, trials included.

Two things make that unfair, and are answered in the open:

- a loss near 0 falls by powers of ten, so that a tenth of it is less than one update. What lies above the twin's by less than a
  thousandth of all that the twin came down counts as reached (``by floor``); the summary says how many there are, and how many
  recovered without them.
- a twin with other data or another loss begins elsewhere, and counts in other units where that is more than a factor of two apart.
  If the two begin more than a hundredth apart, the weights that the recovered training ended with are put in the place of the
  twin's own, and the twin says on its own batches what they come to (``by weights``). Where the two have other parameters, they
  cannot be compared, and where the twin's batches are not what these weights were trained on, the comparison is a hard one: either
  counts as not recovered, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _cases import Case, read_gallery
from _processes import HERE, Ended, run

NEAR, FLOOR, OTHER = 0.10, 0.001, 0.01
_PRINTED = re.compile(r"final loss[^-+\d]*([-+]?[\d.]+(?:e[-+]?\d+)?|nan|inf)", re.IGNORECASE)


def ended(script: Path, mode: str, folder: Path, weights: str = "") -> dict[str, Any]:
    """How `script` ends: ``final``, ``tail``, ``finite``, ``code``, ``report``. `weights`: a file of those it is to be judged with."""
    out = folder / "told.json"
    out.unlink(missing_ok=True)
    done: Ended = run([sys.executable, str(HERE / "_ending.py"), str(out), mode, str(script), *([weights] if weights else [])])
    told = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    printed = [float(found) for found in _PRINTED.findall(done.stdout)]
    losses = [value for value in told.get("losses", ()) if math.isfinite(value)]
    tail = statistics.median(losses[-max(3, len(losses) // 10) :]) if losses else math.nan
    every = [*losses] if len(told.get("losses", [])) < 256 else []  # as many readings are kept
    return {
        "final": printed[-1] if printed and math.isfinite(printed[-1]) else None, "tail": tail,
        "first": every[0] if every else None, "least": min(losses, default=math.nan),
        "finite": told.get("finite", False), "code": done.exit_code, "report": told.get("report", {}), "seconds": done.seconds,
        "weighed": told.get("weighed", False), "copying": told.get("copying", 0.0), "stderr": done.stderr[-2000:],
    }


def row_of(case: Case, twins: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    with tempfile.TemporaryDirectory(prefix="recovery-") as place:
        return _row(case, twins, Path(place))


def _row(case: Case, twins: dict[str, Any], folder: Path) -> dict[str, Any]:
    twin = twins.get(case.name)
    if twin is None:
        found = ended(case.folder / "train_fixed.py", "stop", folder)
        twin = twins[case.name] = {key: found[key] for key in ("final", "tail", "first", "least")}
    healed = ended(case.folder / "train.py", "recover", folder)
    pairs = {key: (healed[key], twin[key]) for key in ("final", "tail") if None not in (healed[key], twin[key])}
    begun, twin_begun = healed["first"], twin.get("first")
    comparison = ""
    apart = abs(begun - twin_begun) / max(abs(twin_begun), 1e-12) if begun is not None and twin_begun is not None else 0.0
    units = not 0.5 <= begun / twin_begun <= 2.0 if apart else False
    if apart > OTHER and healed["finite"]:  # the same weights, and another loss
        weighed = ended(case.folder / "train_fixed.py", "stop", folder, _kept(folder))
        if weighed["weighed"]:
            pairs = {**({} if units else pairs), "weights": (weighed["tail"], twin["tail"])}
        else:
            comparison = "other parameters"
    which = min(pairs, key=lambda key: _excess(*pairs[key]))
    reached, wanted = pairs[which]
    report = healed["report"]
    done = report.get("recovery") or {}
    status = report.get("status", "failed")
    ran = healed["code"] not in (2, 3, 4)
    excess = _excess(reached, wanted)
    if excess > NEAR and "tail" in pairs and twin_begun is not None:
        above, descent = pairs["tail"][0] - pairs["tail"][1], twin_begun - pairs["tail"][1]
        if descent > 0.0 and above <= FLOOR * descent:
            which, (reached, wanted), excess = "floor", pairs["tail"], 0.0
    fallen = reached < min(0.0, twin["least"]) - abs(twin["tail"])
    symptom = case.expected["symptom"]
    return {
        "case": case.name, "symptom": symptom if isinstance(symptom, str) else symptom[0], "twin": wanted, "reached": reached,
        "ratio": reached / wanted if wanted else math.nan, "by": which, "skipped": done.get("left_out", 0),
        "rewinds": done.get("rewound", 0), "mended": done.get("mended", 0), "remedied": done.get("remedied", 0),
        "again": done.get("begun_again", 0), "status": status,
        "code": healed["code"], "finite": healed["finite"], "ran": ran, "seconds": round(healed["seconds"], 1),
        "other_units": units, "comparison": comparison,
        "by_construction": any("no step succeeds" in one["told"] for one in done.get("measures", ())),
        "recovered": bool(
            ran and healed["finite"] and status != "failed" and excess <= NEAR and not (reached == 0.0 < wanted) and not fallen
        ),
        "told": [f"{one['kind']} {one['step']}: {one['told']}" for one in done.get("measures", ())[:20]],
        "causes": [f"{one['causes'][0]['cause']} {one['causes'][0]['verdict']}" for one in report.get("incidents", ()) if one["causes"]],
        "stderr": "" if healed["code"] == 0 else healed["stderr"],
    }


def _kept(folder: Path) -> str:
    """The weights that a training ended with, under a name that the next one does not take."""
    return str((folder / "told.json.weights").rename(folder / "weights"))


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
    parser.add_argument("--shuffled", type=int)
    asked = parser.parse_args(arguments)
    words = [word for word in asked.only.split(",") if word]
    cases = [case for case in read_gallery("") if case.has_twin and not case.benign and not case.missing]
    cases = [case for case in cases if not words or any(word in case.name for word in words)]
    if asked.shuffled is not None:
        random.Random(asked.shuffled).shuffle(cases)
    twins = json.loads(asked.twins.read_text(encoding="utf-8")) if asked.twins and asked.twins.exists() else {}
    rows = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        for row in pool.map(lambda case: row_of(case, twins), cases):
            rows.append(row)
            print(line(row), file=sys.stderr if asked.json_file == "-" else sys.stdout, flush=True)
            if asked.json_file and asked.json_file != "-":
                Path(asked.json_file).write_text(json.dumps(rows, indent=1), encoding="utf-8")
            if asked.twins:
                asked.twins.write_text(json.dumps(twins), encoding="utf-8")
    if asked.json_file == "-":
        print(json.dumps(rows, indent=1))
    print(summary(rows), file=sys.stderr if asked.json_file == "-" else sys.stdout)
    return 0 if all(row["finite"] for row in rows) else 1


def line(row: dict[str, Any]) -> str:
    """One row of the table as text."""
    return (
        f"{'+' if row['recovered'] else '-'} {row['case']:<28} {row['symptom']:<22} twin {row['twin']:<10.4g} "
        f"reached {row['reached']:<10.4g} x {row['ratio']:<8.3g} left out {row['skipped']:<4} mended {row['mended']:<3} "
        f"rewinds {row['rewinds']:<3} remedies {row['remedied']:<3} begun again {row['again']} {row['status']:<10} exit {row['code']} "
        f"{'' if row['finite'] else 'NOT FINITE '}{'every step fails ' if row['by_construction'] else ''}"
        f"by {row['by']} {'(other units) ' if row['other_units'] else ''}{row['comparison']}"
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """The shares."""
    def share(some: list[dict[str, Any]]) -> str:
        good = sum(row["recovered"] for row in some)
        return f"{good} of {len(some)}" + (f" ({good / len(some):.0%})" if some else "")

    stopping = [row for row in rows if row["symptom"].startswith(("nonfinite", "numeric"))]
    units = [row for row in rows if row["other_units"]]
    return (
        f"recovered: {share(rows)}, {sum(row['by'] == 'floor' for row in rows)} of them by the floor; of those with non-finite numbers "
        f"{share(stopping)}; of those in other units {share(units)}; with non-finite weights at the end: "
        f"{sum(not row['finite'] for row in rows)}"
    )


if __name__ == "__main__":
    sys.exit(main())
