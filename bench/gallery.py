"""Run every training of the gallery under `stayfinite run` and compare the report with what is known about it.

    python bench/gallery.py                      # the table
    python bench/gallery.py --only digits,co2    # cases whose name contains one of these words
    python bench/gallery.py --twins              # the healthy twins as well: nothing may be found in them
    python bench/gallery.py --json FILE          # the same as JSON, `-` for stdout
    python bench/gallery.py --keep DIR           # keep the recordings, a folder for each case
    python bench/gallery.py --rerank DIR         # run nothing: rank the causes of kept recordings again, in a second

Every case is a folder of `gallery/`: `train.py` fails, its guilty line ends in ``# <- origin``; `train_fixed.py` is the
same training without the fault; `case.toml` says what a report must contain. Where somebody would change something else
than the guilty line, that line ends in ``# <- fault`` and is the location of the first cause. In `case.toml` a list stands
for "one of these", except for `samples`, `dataset_indices` and `columns`, which are lists by nature, and `requires`, the
packages a case needs beside the framework; what it does not name is not compared. Without a word on it a step that stopped
the run must be held and reproduced.

`gallery/scary/` holds healthy trainings that look alarming: nothing may be found in them. `gallery/sealed/` holds cases that
were written from the pages of the causes alone, by people who do not work on the rules; they are never opened while rules
are tuned, and counted apart.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "gallery"
MARKER = "# <- origin"
FAULT = "# <- fault"
BENIGN = "none"
"""The `symptom` of a case in which nothing may be found."""

_SYMPTOM = ("symptom", "stopped", "harmless", "step", "held", "reproduced")
_ORIGIN = ("phase", "op", "module", "parameter", "buffer", "samples", "dataset_indices", "columns")
_LISTS = frozenset({"samples", "dataset_indices", "columns"})


@dataclass(frozen=True)
class Case:
    """A folder of the gallery. `origin`, `fault`: file and 1-based line of the markers, ``None`` if `case.toml` names no
    file for them."""

    name: str
    folder: Path
    expected: dict[str, Any]
    origin: tuple[str, int] | None
    fault: tuple[str, int] | None = None

    @property
    def sealed(self) -> bool:
        """True for a case that nobody opens while rules are tuned."""
        return self.folder.parent.name == "sealed"

    @property
    def benign(self) -> bool:
        """True if nothing may be found."""
        symptom: str | list[str] = self.expected["symptom"]
        return symptom == BENIGN

    @property
    def missing(self) -> list[str]:
        """Packages the case needs that are not installed."""
        return [name for name in self.expected.get("requires", ()) if importlib.util.find_spec(name) is None]

    @property
    def has_twin(self) -> bool:
        """True if there is a healthy twin."""
        return (self.folder / "train_fixed.py").is_file()


@dataclass(frozen=True)
class Check:
    """One statement of `case.toml` beside what the report says."""

    what: str
    expected: Any
    observed: Any

    @property
    def ok(self) -> bool:
        """True if they agree; a list of alternatives agrees with each of them."""
        if self.what in _LISTS:
            return bool(list(self.expected) == self.observed)
        alternatives = self.expected if isinstance(self.expected, list) else [self.expected]
        return any(self.observed == one for one in alternatives)

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected!r}, the report says {self.observed!r}"


def marked(path: Path, marker: str = MARKER) -> list[int]:
    """1-based numbers of the lines of `path` that carry `marker`, alone or with the other one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    both = (f"  {MARKER}", f"  {FAULT}")
    return [number for number, line in enumerate(lines, start=1) if line.endswith(both) and f"  {marker}" in line]


def read_case(folder: Path) -> Case:
    """The case in `folder`. **Raises** `ValueError` unless each file `case.toml` names has exactly one marked line."""
    expected = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
    origin, fault = (_marked_in(folder, expected.get(key), marker) for key, marker in _MARKERS)
    return Case(folder.name, folder, expected, origin, fault)


_MARKERS = (("origin_file", MARKER), ("fault_file", FAULT))


def _marked_in(folder: Path, file: str | None, marker: str) -> tuple[str, int] | None:
    if file is None:
        return None
    lines = marked(folder / file, marker)
    if len(lines) != 1:
        raise ValueError(f"{folder.name}/{file}: one line must end in {marker!r}, found {len(lines)}")
    return file, lines[0]


def read_gallery(*parts: str) -> list[Case]:
    """All cases of the gallery's `parts` (``""`` the open cases, ``"scary"``, ``"sealed"``), by name; the first two by
    default."""
    places = [GALLERY / part for part in parts or ("", "scary")]
    return [read_case(path.parent) for place in places for path in sorted(place.glob("*/case.toml"))]


def chosen_incident(report: dict[str, Any]) -> dict[str, Any] | None:
    """The incident a case is about: the first that stopped the run, else the first non-finite one, else the first."""
    incidents = report["incidents"]
    stopping = [one for one in incidents if one["stopped"]]
    non_finite = [one for one in incidents if one["symptom"].startswith(("nonfinite", "numeric"))]
    return next(iter([*stopping, *non_finite, *incidents]), None)


def judge(case: Case, report: dict[str, Any], exit_code: int) -> list[Check]:
    """Everything `case.toml` states, compared with a report of a run of its `train.py`."""
    checks = [Check("exit_code", case.expected["exit_code"], exit_code)]
    if case.benign:
        found = [one["symptom"] for one in report["incidents"]]
        return [*checks, Check("status", "clean", report["status"]), Check("incidents", [[]], found)]
    incident = chosen_incident(report)
    if incident is None:
        return [*checks, Check("symptom", case.expected["symptom"], BENIGN)]
    expected = dict(case.expected)
    numeric = incident["symptom"].startswith(("nonfinite", "numeric"))
    if numeric and not expected.get("harmless"):  # the weights are those of before the step, and the step can be repeated
        expected.setdefault("held", True)
        expected.setdefault("reproduced", True)
    origin = incident["origin"] or {}
    checks += [Check(what, expected[what], incident[what]) for what in _SYMPTOM if what in expected]
    if case.origin is not None:
        checks.append(Check("line", "{}:{}".format(*case.origin), f"{origin.get('file')}:{origin.get('line')}"))
    checks += [Check(what, expected[what], origin.get(what)) for what in _ORIGIN if what in expected]
    first = next(iter(incident["causes"]), {"cause": None, "location": {}})
    checks.append(Check("cause", expected["cause"], first["cause"]))
    if case.fault is not None:
        place = first["location"] or {}
        checks.append(Check("fault", "{}:{}".format(*case.fault), f"{place.get('file')}:{place.get('line')}"))
    return checks


def rank_of_cause(case: Case, report: dict[str, Any]) -> int | None:
    """At which place, from 1, the report names an expected cause; ``None`` if it does not."""
    incident = chosen_incident(report)
    wanted = case.expected.get("cause", [])
    wanted = wanted if isinstance(wanted, list) else [wanted]
    causes = [one["cause"] for one in incident["causes"]] if incident else []
    return next((place for place, cause in enumerate(causes, start=1) if cause in wanted), None)


def run_row(case: Case, timeout: float, keep: Path | None = None) -> dict[str, Any]:
    """One line of the table: `train.py` of `case`, run and judged. `keep`: where its recording stays."""
    report, done = watched_run(case.folder, "train.py", timeout, keep / case.name if keep is not None else None)
    if report is None:
        failure = f"no report, exit code {done.exit_code}: {done.stderr.strip().splitlines()[-1:]}"
        return {"case": case.name, "seconds": round(done.seconds, 2), "failures": [failure]}
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
    return {
        "case": case.name,
        "symptom": incident["symptom"] if incident else BENIGN,
        "step": incident["step"] if incident else None,
        "line": verdicts.get("line"),
        "cause": next((one["cause"] for one in incident["causes"]), None) if incident else None,
        "rank": rank_of_cause(case, report),
        "samples": verdicts.get("samples"),
        "seconds": round(seconds, 2),
        "failures": [str(check) for check in checks if not check.ok],
    }


def run_twin_row(case: Case, timeout: float) -> dict[str, Any]:
    """One line of the table: the twin of `case`, watched and bare. Nothing may be found, and both print the same."""
    report, done = watched_run(case.folder, "train_fixed.py", timeout)
    bare = _runners().run_bare(["train_fixed.py"], case.folder, timeout=timeout)
    failures = [] if report is not None else [f"no report, exit code {done.exit_code}"]
    if report is not None and report["status"] != "clean":
        failures.append(f"status: {report['status']}, {[one['symptom'] for one in report['incidents']]}")
    if (done.exit_code, done.stdout) != (bare.exit_code, bare.stdout):
        failures.append("does not print what the bare run prints")
    found = chosen_incident(report) if report else None
    return {
        "case": f"{case.name} (twin)",
        "symptom": found["symptom"] if found else BENIGN,
        "step": found["step"] if found else None,
        "seconds": round(done.seconds, 2),
        "failures": failures,
    }


def watched_run(folder: Path, script: str, timeout: float, keep: Path | None = None) -> tuple[dict[str, Any] | None, Any]:
    """``stayfinite run SCRIPT`` in `folder`: its report, or ``None`` if it wrote none, and how the process ended. `keep`: the
    folder of the recording, which stays; an older one there is replaced."""
    if keep is not None:
        shutil.rmtree(keep, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="gallery-") if keep is None else nullcontext(str(keep.resolve())) as reports:
        arguments = ["run", "--report", reports, script]
        done = _runners().run_cli(arguments, folder, {"STAYFINITE_STRICT": "1"}, timeout=timeout)
        path = Path(reports, "report.json")
        return (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None), done


def _runners() -> Any:
    tests = str(ROOT / "tests")
    if tests not in sys.path:
        sys.path.insert(0, tests)
    return importlib.import_module("forkserver")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return "-" if value is None else str(value)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """`rows` as a Markdown table, with a line for every disagreement below it."""
    heads = ("case", "symptom", "step", "line", "cause", "rank", "samples", "seconds")
    cells = [list(heads), *([_cell(row.get(head)) for head in heads] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells)
    lines = ["| " + " | ".join(line) + " |" for line in padded]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    failing = [row for row in rows if row["failures"]]
    lines += ["", f"{len(rows) - len(failing)} of {len(rows)} as expected"]
    lines += [f"  {row['case']}: {failure}" for row in failing for failure in row["failures"]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 1 if anything is not as expected."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="WORDS", help="cases whose name contains one of these (a,b,c)")
    parser.add_argument("--twins", action="store_true", help="run the healthy twins as well")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON, - for stdout")
    parser.add_argument("--timeout", type=float, default=180.0, metavar="SECONDS", help="for each run (default 180)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the recordings")
    parser.add_argument("--rerank", type=Path, metavar="DIR", help="rank the causes of kept recordings again, run nothing")
    options = parser.parse_args(arguments)
    words = [word for word in options.only.split(",") if word]
    cases = [case for case in read_gallery() if not words or any(word in case.name for word in words)]
    rows = []
    for case in cases:
        if case.missing:
            print(f"{case.name}: left out, {', '.join(case.missing)} is not installed", file=sys.stderr)
            continue
        if options.rerank is not None:
            if (options.rerank / case.name).is_dir():
                rows.append(rerank_row(case, options.rerank / case.name))
            continue
        rows.append(run_row(case, options.timeout, options.keep))
        if options.twins and case.has_twin:
            rows.append(run_twin_row(case, options.timeout))
        if sys.stderr.isatty():
            print(f"{len(rows)}: {rows[-1]['case']}", file=sys.stderr)
    if options.json == "-":
        print(json.dumps(rows, indent=1))
    else:
        if options.json:
            Path(options.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        print(table(rows))
    return 1 if any(row["failures"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
