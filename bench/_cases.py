"""The cases of the gallery, and a report held against what one of them states."""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "gallery"
MARKER = "# <- origin"
FAULT = "# <- fault"
BENIGN = "none"
"""The `symptom` of a case in which nothing may be found."""
PARTS = ("", "scary", "sealed")
"""Folders of the gallery: the open cases, the healthy trainings that look alarming, the cases nobody opens while tuning."""

NUMERIC = ("nonfinite", "numeric")
_SYMPTOM = ("symptom", "stopped", "harmless", "step", "held", "reproduced")
_ORIGIN = ("phase", "op", "module", "parameter", "buffer", "samples", "dataset_indices", "columns")
_LISTS = frozenset({"samples", "dataset_indices", "columns"})


@dataclass(frozen=True)
class Case:
    """A folder of the gallery. `origin`: file and 1-based line of its marker, ``None`` if `case.toml` names no file for it.
    `faults`: those of the places where somebody would change something, any of which is right."""

    name: str
    folder: Path
    expected: dict[str, Any]
    origin: tuple[str, int] | None
    faults: tuple[tuple[str, int], ...] = ()

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
    def numeric(self) -> bool:
        """True if something non-finite is to be found, which has a step; what stays finite is told when it is sure."""
        stated: str | list[str] = self.expected["symptom"]
        return all(one.startswith(NUMERIC) for one in ([stated] if isinstance(stated, str) else stated))

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
    also: Any = None
    """An answer that a referee found as right as the stated one."""

    @property
    def ok(self) -> bool:
        """True if the report says what is stated, or what a referee found as right."""
        return self.stated or (self.also is not None and self.observed == self.also)

    @property
    def stated(self) -> bool:
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
    """The case in `folder`. **Raises** `ValueError` unless the file `origin_file` names has exactly one marked line, and
    each file of `fault_file` at least one."""
    expected = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
    origin = expected.get("origin_file")
    origins = [] if origin is None else [(origin, line) for line in marked(folder / origin)]
    if origin is not None and len(origins) != 1:
        raise ValueError(f"{folder.name}/{origin}: one line must end in {MARKER!r}, found {len(origins)}")
    stated = expected.get("fault_file", [])
    faults: list[tuple[str, int]] = []
    for file in [stated] if isinstance(stated, str) else stated:
        lines = marked(folder / file, FAULT)
        if not lines:
            raise ValueError(f"{folder.name}/{file}: a line must end in {FAULT!r}, found none")
        faults += [(file, line) for line in lines]
    return Case(folder.name, folder, expected, next(iter(origins), None), tuple(faults))


def read_gallery(*parts: str) -> list[Case]:
    """All cases of the gallery's `parts`, by name; those that may be opened by default."""
    places = [GALLERY / part for part in parts or PARTS[:2]]
    return [read_case(path.parent) for place in places for path in sorted(place.glob("*/case.toml"))]


def chosen_incident(report: dict[str, Any]) -> dict[str, Any] | None:
    """The incident a case is about: the first that stopped the run, else the first non-finite one, else the first."""
    incidents = report["incidents"]
    stopping = [one for one in incidents if one["stopped"]]
    non_finite = [one for one in incidents if one["symptom"].startswith(NUMERIC)]
    return next(iter([*stopping, *non_finite, *incidents]), None)


def judge(case: Case, report: dict[str, Any], exit_code: int) -> list[Check]:
    """Everything `case.toml` states, compared with a report of a run of its `train.py`."""
    also = case.expected.get("also", {})
    return [replace(check, also=also.get(check.what)) for check in _checks(case, report, exit_code)]


def _checks(case: Case, report: dict[str, Any], exit_code: int) -> list[Check]:
    checks = [Check("exit_code", case.expected["exit_code"], exit_code)]
    if case.benign:
        found = [one["symptom"] for one in report["incidents"]]
        return [*checks, Check("status", "clean", report["status"]), Check("incidents", [[]], found)]
    incident = chosen_incident(report)
    if incident is None:
        return [*checks, Check("symptom", case.expected["symptom"], BENIGN)]
    expected = dict(case.expected)
    # the weights are those of before the step, and the step can be repeated
    if incident["symptom"].startswith(NUMERIC) and not expected.get("harmless"):
        expected.setdefault("held", True)
        expected.setdefault("reproduced", True)
    origin = incident["origin"] or {}
    checks += [Check(what, expected[what], incident[what]) for what in _SYMPTOM if what in expected]
    if case.origin is not None:
        checks.append(Check("line", "{}:{}".format(*case.origin), f"{origin.get('file')}:{origin.get('line')}"))
    checks += [Check(what, expected[what], origin.get(what)) for what in _ORIGIN if what in expected]
    first = next(iter(incident["causes"]), {"cause": None, "location": {}})
    checks.append(Check("cause", expected["cause"], first["cause"]))
    if case.faults:
        place = first["location"] or {}
        right = [f"{file}:{line}" for file, line in case.faults]
        checks.append(Check("fault", right, f"{place.get('file')}:{place.get('line')}"))
    return checks


def rank_of_cause(case: Case, report: dict[str, Any]) -> int | None:
    """At which place, from 1, the report names an expected cause; ``None`` if it does not."""
    incident = chosen_incident(report)
    wanted = case.expected.get("cause", [])
    wanted = wanted if isinstance(wanted, list) else [wanted]
    causes = [one["cause"] for one in incident["causes"]] if incident else []
    return next((place for place, cause in enumerate(causes, start=1) if cause in wanted), None)
