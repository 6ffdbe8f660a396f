"""Run every training of the gallery under `stayfinite run` and compare the report with what is known about it.

    python bench/gallery.py                      # the tables: open cases, sealed cases, healthy scripts, and the figures
    python bench/gallery.py --part open          # one part: open, sealed, scary, twins, healthy (may be said twice)
    python bench/gallery.py --only digits,co2    # cases whose name contains one of these words, without the figures
    python bench/gallery.py --twins              # with --only: the healthy twins as well
    python bench/gallery.py --json FILE          # the same as JSON, `-` for stdout
    python bench/gallery.py --keep DIR           # keep the recordings, a folder for each case
    python bench/gallery.py --rerank DIR         # run nothing: rank the causes of kept recordings again, in a second

Every case is a folder of `gallery/`: `train.py` fails, its guilty line ends in ``# <- origin``; `train_fixed.py` is the
same training without the fault; `case.toml` says what a report must contain. Where somebody would change something else
than the guilty line, that line ends in ``# <- fault`` and is the location of the first cause; where a change in either of
two places is as natural, both end in it. In `case.toml` a list stands
for "one of these", except for `samples`, `dataset_indices` and `columns`, which are lists by nature, and `requires`, the
packages a case needs beside the framework; what it does not name is not compared. Without a word on it a step that stopped
the run must be held and reproduced.

`gallery/scary/` holds healthy trainings that look alarming: nothing may be found in them. `gallery/sealed/` holds cases that
were written from the pages of the causes alone, by people who do not work on the rules; they are never opened while rules
are tuned, and counted apart. Where such a case and a report disagreed, a referee who did not know whose answer was whose
compared them; what was found as right stands in the table `also` of `case.toml`, and the shares are told with and
without it. The scripts of `tests/healthy/` and all twins count as healthy steps too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
from _cases import BENIGN, ROOT, Case, chosen_incident, judge, read_gallery
from _figures import calibration_error, figures, rate_at_most, reliability

HEALTHY = ROOT / "tests" / "healthy"
PART_NAMES = ("open", "sealed", "scary", "twins", "healthy")


def run_row(case: Case, timeout: float, keep: Path | None = None) -> dict[str, Any]:
    """One line of the table: `train.py` of `case`, run and judged. `keep`: where its recording stays."""
    report, done = watched_run(case.folder, "train.py", timeout, keep / case.name if keep is not None else None)
    if report is None:
        failure = f"no report, exit code {done.exit_code}: {done.stderr.strip().splitlines()[-1:]}"
        return {"case": case.name, "seconds": round(done.seconds, 2), "failures": [failure], "seen": False}
    return _row(case, report, done.exit_code, done.seconds)


def rerank_row(case: Case, kept: Path) -> dict[str, Any]:
    """The same from a kept recording, its causes ranked by the code as it is now."""
    from stayfinite.engine.rank import rank
    from stayfinite.recording.reader import read_recording
    from stayfinite.reporters import json as json_reporter
    from stayfinite.reporters.report import build_report

    recording = read_recording(kept)
    again = tuple(msgspec.structs.replace(one, diagnosis=rank(one.case)) for one in recording.incidents)
    report = json.loads(json_reporter.to_bytes(build_report(msgspec.structs.replace(recording, incidents=again))))
    closing = recording.closing
    return _row(case, report, closing.exit_code if closing is not None else -1, closing.seconds if closing else 0.0)


def _row(case: Case, report: dict[str, Any], exit_code: int, seconds: float) -> dict[str, Any]:
    incident = chosen_incident(report)
    checks = judge(case, report, exit_code)
    verdicts = {check.what: check.ok for check in checks}
    stated = {check.what: check.stated for check in checks}
    row = {
        "case": case.name,
        "symptom": incident["symptom"] if incident else BENIGN,
        "step": incident["step"] if incident else None,
        "line": verdicts.get("line", False if case.origin is not None and incident is None else None),
        "place": verdicts.get("fault", False if case.faults and incident is None else None),
        "cause": next((one["cause"] for one in incident["causes"]), None) if incident else None,
        "rank": None,
        "samples": _samples(verdicts, case, incident),
        "seconds": round(seconds, 2),
        "steps": report["run"]["steps"],
        "alarms": len(report["incidents"]),
        "failures": [str(check) for check in checks if not check.ok],
    }
    if not case.benign:
        row["seen"] = verdicts.get("symptom", False)
        row["stated"] = {
            key: stated[what]
            for key, what in (("seen", "symptom"), ("line", "line"), ("place", "fault")) if what in stated
        } | ({} if row["samples"] is None else {"samples": _samples(stated, case, incident)})
        row["rank"] = _rank_of_cause(case, incident)
        row["first"], row["top3"] = row["rank"] == 1, row["rank"] is not None and row["rank"] <= 3
        wanted = _wanted(case)
        row["ranked"] = [(one["probability"], one["cause"] in wanted) for one in incident["causes"]] if incident else []
    return row


def _wanted(case: Case) -> list[str]:
    wanted = case.expected.get("cause", [])
    return wanted if isinstance(wanted, list) else [wanted]


def _rank_of_cause(case: Case, incident: dict[str, Any] | None) -> int | None:
    """At which place, from 1, the report names an expected cause; ``None`` if it does not."""
    causes = [one["cause"] for one in incident["causes"]] if incident else []
    return next((place for place, cause in enumerate(causes, start=1) if cause in _wanted(case)), None)


def _samples(verdicts: dict[str, bool], case: Case, incident: dict[str, Any] | None) -> bool | None:
    """Whether rows and data-set indices are right; ``None`` where no single sample is guilty."""
    stated = [case.expected[what] for what in ("samples", "dataset_indices") if case.expected.get(what)]
    if not stated:
        return None
    return incident is not None and all(verdicts.get(what, True) for what in ("samples", "dataset_indices"))


def run_twin_row(case: Case, timeout: float) -> dict[str, Any]:
    """One line of the table: the twin of `case`, watched and bare. Nothing may be found, and both print the same."""
    return _healthy_row(f"{case.name} (twin)", case.folder, "train_fixed.py", timeout)


def _healthy_row(name: str, folder: Path, script: str, timeout: float) -> dict[str, Any]:
    """A healthy script, watched and bare: nothing may be found, and both print the same."""
    report, done = watched_run(folder, script, timeout)
    bare = _runners().run_bare([script], folder, timeout=timeout)
    failures = [] if report is not None else [f"no report, exit code {done.exit_code}"]
    if report is not None and report["incidents"]:
        failures.append(f"status: {report['status']}, {[one['symptom'] for one in report['incidents']]}")
    if (done.exit_code, done.stdout) != (bare.exit_code, bare.stdout):
        failures.append("does not print what the bare run prints")
    found = chosen_incident(report) if report else None
    return {
        "case": name,
        "symptom": found["symptom"] if found else BENIGN,
        "step": found["step"] if found else None,
        "seconds": round(done.seconds, 2),
        "steps": report["run"]["steps"] if report else 0,
        "alarms": len(report["incidents"]) if report else 0,
        "failures": failures,
    }


def run_healthy_row(path: Path, timeout: float) -> dict[str, Any]:
    """A script of `tests/healthy`, in a folder of its own, because some of them write files."""
    alone = path.parent == HEALTHY
    with tempfile.TemporaryDirectory(prefix="healthy-") as made:
        folder = Path(made, "run")
        if alone:
            folder.mkdir()
            shutil.copy(path, folder)
        else:
            shutil.copytree(path.parent, folder)
        report, done = watched_run(folder, path.name, timeout)
    failures = [] if report is not None else [f"no report, exit code {done.exit_code}"]
    alarms = [one["symptom"] for one in report["incidents"]] if report else []
    return {
        "case": path.stem if alone else path.parent.name, "seconds": round(done.seconds, 2), "alarms": len(alarms),
        "steps": report["run"]["steps"] if report else 0, "failures": failures + ([f"found {alarms}"] if alarms else []),
    }


def watched_run(
    folder: Path, script: str, timeout: float, keep: Path | None = None, *, trials: bool = False
) -> tuple[dict[str, Any] | None, Any]:
    """``stayfinite run SCRIPT`` in `folder`: its report, or ``None`` if it wrote none, and how the process ended. `keep`: the
    folder of the recording, which stays; an older one there is replaced. `trials`: the script may be run again."""
    if keep is not None:
        shutil.rmtree(keep, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="gallery-") if keep is None else nullcontext(str(keep.resolve())) as reports:
        arguments = ["run", "--report", reports, script]
        environment = {"STAYFINITE_STRICT": "1", "STAYFINITE_NO_TRIALS": str(int(not trials))}
        done = _runners().run_cli(arguments, folder, environment, timeout=timeout)
        path = Path(reports, "report.json")
        return (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None), done


def _runners() -> Any:
    tests = str(ROOT / "tests")
    if tests not in sys.path:
        sys.path.insert(0, tests)
    return importlib.import_module("forkserver")


# -- telling ---------------------------------------------------------------------------------------------------------


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return "-" if value is None else str(value)


HEADS = ("case", "symptom", "step", "line", "place", "cause", "rank", "samples", "seconds")


def table(rows: Sequence[dict[str, Any]], heads: Sequence[str] = HEADS) -> str:
    """`rows` as a Markdown table, with a line for every disagreement below it."""
    lines = aligned(heads, [[_cell(row.get(head)) for head in heads] for row in rows])
    failing = [row for row in rows if row["failures"]]
    lines += ["", f"{len(rows) - len(failing)} of {len(rows)} as expected"]
    lines += [f"  {row['case']}: {failure}" for row in failing for failure in row["failures"]]
    return "\n".join(lines)


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table whose columns line up, to be read as it stands."""
    cells = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells)
    lines = ["| " + " | ".join(line) + " |" for line in padded]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def summary(parts: dict[str, list[dict[str, Any]]]) -> str:
    """The figures: shares with their 95 % intervals, open and sealed cases apart, false alarms, and how far the
    probabilities can be trusted."""
    failing = {name: [row for row in parts.get(name, ()) if "seen" in row] for name in ("open", "sealed")}
    shares = [(f"{name} cases", dict(figures(rows))) for name, rows in failing.items() if rows]
    if failing["sealed"]:
        alone = [row | row["stated"] for row in failing["sealed"]]
        shares.append(("sealed, without the referee", dict(figures(alone))))
    lines = []
    if shares:
        names = list(shares[0][1])
        lines += aligned(["share (95 % interval)", *(name for name, _ in shares)],
                          [[what, *(told[what] for _, told in shares)] for what in names])
    quiet = {name: rows for name in ("twins", "scary", "healthy") if (rows := parts.get(name))}
    if quiet:
        counted = []
        for name, found in [*quiet.items(), ("together", [row for rows in quiet.values() for row in rows])]:
            steps, alarms = sum(row.get("steps") or 0 for row in found), sum(row.get("alarms") or 0 for row in found)
            per = f"{1e4 * alarms / steps:.2f} (below {1e4 * rate_at_most(alarms, steps):.2f})" if steps else "-"
            counted.append([name, str(len(found)), str(steps), str(alarms), per])
        lines += ["", *aligned(["healthy", "scripts", "steps", "false alarms", "in 10,000 steps (95 % limit)"], counted)]
    for name, rows in failing.items():
        if rows:
            lines += ["", f"Probabilities of the causes, {name} cases; expected calibration error {calibration_error(rows):.3f}:", ""]
            lines += aligned(["probability said", "causes", "mean", "right (95 % interval)"], reliability(rows))
    return "\n".join(lines)


def _rows_of(part: str, timeout: float, keep: Path | None, rerank: Path | None) -> Iterator[dict[str, Any]]:
    if part == "healthy":
        scripts = [*HEALTHY.glob("*.py"), *HEALTHY.glob("*/train.py")] if rerank is None else []
        for path in sorted(scripts):
            yield run_healthy_row(path, timeout)
        return
    folders = {"open": [""], "sealed": ["sealed"], "scary": ["scary"], "twins": ["", "sealed"]}[part]
    run: Callable[[Case], dict[str, Any]] = lambda case: run_row(case, timeout, keep)  # noqa: E731
    for case in read_gallery(*folders):
        if (part == "twins" and not case.has_twin) or (rerank is not None and not (rerank / case.name).is_dir()):
            continue
        if part in ("open", "sealed") and case.benign:
            continue
        if case.missing:
            print(f"{case.name}: left out, {', '.join(case.missing)} is not installed", file=sys.stderr)
        elif rerank is not None:
            yield rerank_row(case, rerank / case.name)
        elif part == "twins":
            yield run_twin_row(case, timeout)
        else:
            yield run(case)
    if part == "scary" and rerank is None:
        yield from (run(case) for case in read_gallery("") if case.benign)


def _only(words: Sequence[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for case in read_gallery():  # a word that happens to fit must not show a sealed case
        if any(word in case.name for word in words):
            rows.append(run_row(case, options.timeout, options.keep))
            if options.twins and case.has_twin:
                rows.append(run_twin_row(case, options.timeout))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 1 if anything is not as expected."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PART_NAMES, help="only this part (may be said twice)")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases whose name contains one of these (a,b,c)")
    parser.add_argument("--twins", action="store_true", help="with --only, run the healthy twins as well")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON, - for stdout")
    parser.add_argument("--timeout", type=float, default=180.0, metavar="SECONDS", help="for each run (default 180)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the recordings")
    parser.add_argument("--rerank", type=Path, metavar="DIR", help="rank the causes of kept recordings again, run nothing")
    options = parser.parse_args(arguments)
    words = [word for word in options.only.split(",") if word]
    parts: dict[str, list[dict[str, Any]]] = {}
    if words:
        parts["chosen"] = _only(words, options)
    else:
        for part in options.part or (("open", "sealed") if options.rerank is not None else PART_NAMES):
            rows = parts[part] = []
            for row in _rows_of(part, options.timeout, options.keep, options.rerank):
                rows.append(row)
                if sys.stderr.isatty():
                    print(f"{part} {len(rows)}: {row['case']}", file=sys.stderr)
    if options.json:
        told = json.dumps(parts, indent=1) + "\n"
        sys.stdout.write(told) if options.json == "-" else Path(options.json).write_text(told, encoding="utf-8")
    if options.json != "-":
        for part, rows in parts.items():
            heads = ("case", "symptom", "step", "seconds", "steps", "alarms") if part in ("scary", "twins", "healthy") else HEADS
            print(f"### {part}\n\n{table(rows, heads)}\n")
        if not words:
            print(summary(parts))
    return 1 if any(row["failures"] for rows in parts.values() for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
