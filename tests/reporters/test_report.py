"""From records to the report: status, counts, places, and incidents that a killed process left half told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from reporters.handmade import (
    LOG,
    SCALER,
    bad_sample,
    closing,
    log_of_zero,
    manifest,
    raised,
    spike,
    where_trap,
    write_script,
)

from stayfinite.records.encoding import to_plain
from stayfinite.records.finding import NOT_WATCHED, Warning
from stayfinite.records.incident import Incident, Symptom
from stayfinite.records.location import Location
from stayfinite.records.manifest import Closing
from stayfinite.records.recording import Record, Repeats, Stage
from stayfinite.reporters.report import build_report

UNWATCHED = Warning(NOT_WATCHED, "a child process trained and was not watched")


def skipped(incident: Incident) -> Incident:
    return msgspec.structs.replace(incident, stopped=False)


@pytest.mark.parametrize(
    ("records", "status"),
    [
        ([closing("clean", 0)], "clean"),
        ([SCALER, closing("clean", 0)], "clean"),
        ([UNWATCHED, closing("clean", 0)], "failed"),
        ([closing("failed", 4)], "failed"),
        ([], "failed"),
        ([log_of_zero(), closing()], "incident"),
        ([log_of_zero()], "incident"),
        ([log_of_zero(), closing("clean", 0)], "incident"),
        ([spike(), closing("incident", 0)], "incident"),
        ([raised(), closing("incident", 1)], "incident"),
        ([msgspec.structs.replace(log_of_zero(), stopped=False, harmless=True), closing("clean", 0)], "incident"),
        ([skipped(log_of_zero()), closing("incident", 0)], "recovered"),
        ([skipped(log_of_zero()), UNWATCHED, closing("incident", 0)], "recovered"),
        ([skipped(log_of_zero()), skipped(where_trap()), closing("recovered", 0)], "recovered"),
        ([skipped(log_of_zero()), where_trap(), closing()], "incident"),
        ([skipped(log_of_zero()), spike(), closing("incident", 0)], "incident"),
        ([msgspec.structs.replace(log_of_zero(), stopped=False, outcome="cured"), closing("clean", 0)], "recovered"),
    ],
)
def test_status(records: list[Record], status: str) -> None:
    assert build_report([manifest(), *records]).status == status


def test_every_field_of_the_contract_is_there(tmp_path: Path) -> None:
    plain = to_plain(build_report([manifest(write_script(tmp_path)), log_of_zero(), closing()]))
    assert {key: plain[key] for key in ("schema", "version", "status", "findings")} == {
        "schema": "stayfinite.report/1", "version": "0.1.0", "status": "incident", "findings": [],
    }
    run = {"script": "train.py", "argv": ["--rate", "0.1"], "framework": "torch", "framework_version": "2.13.0",
           "steps": 58, "seconds": 4.13, "exit_code": 3}
    assert run.items() <= plain["run"].items()
    incident = plain["incidents"][0]
    expected = {"id": "4a1b9c0d2e3f", "symptom": "nonfinite-loss", "stopped": True, "harmless": False, "step": 57,
                "epoch": 1, "value": "+inf", "held": True, "reproduced": True, "remedies": []}
    assert expected.items() <= incident.items()
    origin = incident["origin"]
    place = {"phase": "loss", "op": "log", "native_op": "aten.log.default", "file": "train.py", "line": 7, "column": 12,
             "end_line": 7, "end_column": 29, "function": "loss_fn", "library": None,
             "code": "return -torch.log(picked).mean()", "module": None, "parameter": None, "buffer": None,
             "samples": [17], "dataset_indices": [1377], "columns": [], "absorbed_at": None}
    assert place.items() <= origin.items()
    picked = {"name": "picked", "shape": [32], "dtype": "float32", "nan": 0, "posinf": 0, "neginf": 0, "zero": 1,
              "min": 0.0, "max": 0.9998}
    assert picked.items() <= origin["inputs"][0].items()
    assert origin["output"]["neginf"] == 1
    cause = incident["causes"][0]
    judged = {"cause": "log-of-zero", "probability": 0.931, "verdict": "not_tested", "experiments": []}
    assert judged.items() <= cause.items()
    assert {"file": "train.py", "line": 7}.items() <= cause["location"].items()
    assert {"claim", "bits", "fact"} <= cause["evidence"][0].keys()
    assert incident["causes"][2]["location"] is None


def test_chain_runs_from_the_origin_to_where_it_did_harm() -> None:
    incident = build_report([manifest(), log_of_zero(), closing()]).incidents[0]
    assert [(link.op, link.value) for link in incident.chain] == [
        ("log", "-inf in 1 of 32 elements"), ("mean", "-inf"), ("neg", "+inf"),
    ]
    assert [(x.kind, x.name, x.value) for x in incident.reached] == [
        ("loss", "loss", "+inf"), ("gradient", "net.head.weight", "nan in all 640 elements"),
    ]


def test_chain_of_a_bad_sample_begins_with_what_read_it() -> None:
    incident = build_report([manifest(), bad_sample(), closing()]).incidents[0]
    assert [link.op for link in incident.chain] == ["matmul", "mean"]
    assert [(x.kind, x.name) for x in incident.bad_before] == [("batch", "x")]


def test_chain_is_empty_where_the_trace_does_not_hold_it() -> None:
    assert build_report([manifest(), where_trap(), closing()]).incidents[0].chain == ()


def test_excerpts_come_from_the_file_while_its_line_is_what_ran(tmp_path: Path) -> None:
    records = [manifest(write_script(tmp_path)), where_trap(), closing()]
    origin = build_report(records).incidents[0].origin
    assert origin is not None and origin.excerpt is not None and origin.absorbed_at is not None
    assert origin.excerpt.first_line == 10
    assert origin.excerpt.lines[2] == "    root = squared ** 0.5"
    assert (origin.excerpt.marks[0].start, origin.excerpt.marks[0].end, origin.excerpt.note) == (11, 25, None)
    assert origin.absorbed_at.excerpt is not None and origin.absorbed_at.excerpt.note is None
    (tmp_path / "train.py").write_text("# all new\n" * 20)
    changed = build_report(records).incidents[0].origin
    assert changed is not None and changed.excerpt is not None
    assert (changed.excerpt.lines, changed.excerpt.note) == (("root = squared ** 0.5",), "the source has changed since")
    (tmp_path / "train.py").unlink()
    gone = build_report(records).incidents[0].origin
    assert gone is not None and gone.excerpt is not None
    assert (gone.excerpt.marks[0].start, gone.excerpt.note) == (7, "the source is not at hand")


def test_paths_inside_the_folder_of_the_script_are_relative(tmp_path: Path) -> None:
    for file, shown in ((tmp_path / "lib" / "loss.py", "lib/loss.py"), (Path("/elsewhere/x.py"), "/elsewhere/x.py")):
        moved = msgspec.structs.replace(LOG, file=str(file))
        incident = log_of_zero()
        origin = msgspec.structs.replace(incident.case.origin, location=moved)  # type: ignore[type-var]
        case = msgspec.structs.replace(incident.case, origin=origin)
        report = build_report([manifest(tmp_path), msgspec.structs.replace(incident, case=case), closing()])
        assert report.incidents[0].origin is not None
        assert report.incidents[0].origin.file == shown


def test_without_an_origin_a_warning_says_why() -> None:
    report = build_report([manifest(), raised(), closing("incident", 1)])
    warning = report.warnings[0]
    assert report.incidents[0].origin is None
    assert (warning.id, warning.incident) == ("origin-unknown", "e0e1e2e3e4e5")
    assert warning.reason == "the step could not be replayed: step not repeatable: the batch differs"
    assert report.incidents[0].origin_reason == warning.reason


def test_counts() -> None:
    records = [manifest(), log_of_zero(), Repeats("4a1b9c0d2e3f", 57, 57, 113), Repeats("", 9, 70, 99), closing()]
    report = build_report(records)
    assert (report.incidents[0].count, report.incidents[0].last_step) == (57, 113)
    assert report.warnings[0].message == (
        "9 further incidents (steps 70 to 99) of other origins were counted, not stored"
    )


def test_finite_symptoms_without_an_incident_are_told_once_and_counted() -> None:
    symptoms = [Symptom("loss-spike", step, "loss", 40.0 + step, limit="at most 9") for step in (12, 20, 33)]
    report = build_report([manifest(), *symptoms, log_of_zero(), closing()])
    assert [(x.symptom, x.step, x.count, x.last_step, x.outcome) for x in report.incidents] == [
        ("loss-spike", 12, 3, 33, "continued"), ("nonfinite-loss", 57, 1, 57, "stopped"),
    ]
    assert report.incidents[0].headline == "step 12: the loss jumped to 52; expected at most 9"


def test_a_process_killed_during_the_investigation_leaves_what_was_known() -> None:
    whole = log_of_zero()
    records: list[Record] = [manifest(), whole.case.symptom, Stage("0123", "replay"), whole.case.trace]
    report = build_report(records)
    assert (report.status, report.incidents[0].id, report.incidents[0].causes) == ("incident", "0123", ())
    assert report.warnings[0].message == (
        "the process ended while nonfinite-loss at step 57 was being investigated"
    )
    later = build_report([*records, Stage("4a1b9c0d2e3f", "locate"), whole.case])
    assert later.incidents[0].origin is not None and later.incidents[0].origin.line == 7
    done = build_report([*records, whole.case, whole])
    assert len(done.incidents) == 1 and done.incidents[0].causes
    assert not any(warning.id == "investigation-unfinished" for warning in done.warnings)


def test_without_a_closing_the_end_is_not_invented() -> None:
    run = build_report([manifest(), log_of_zero()]).run
    assert (run.steps, run.seconds, run.exit_code) == (58, None, None)


def test_the_framework_may_become_known_at_the_end() -> None:
    early = msgspec.structs.replace(manifest(), framework=None, framework_version=None)
    end = Closing("clean", 3, 0.1, 0, framework="torch", framework_version="2.13.0")
    run = build_report([early, end]).run
    assert (run.framework, run.framework_version) == ("torch", "2.13.0")


def test_evidence_is_heaviest_first_and_series_are_of_equal_length() -> None:
    incident = build_report([manifest(), log_of_zero(), closing()]).incidents[0]
    assert [item.bits for item in incident.causes[0].evidence] == [4.0, 0.8]
    assert {len(series.steps) == len(series.values) for series in incident.windows} == {True}


def test_records_must_begin_with_a_manifest() -> None:
    with pytest.raises(ValueError, match="begins with a manifest"):
        build_report([closing()])


def test_an_exception_shows_its_place_where_nothing_was_located(tmp_path: Path) -> None:
    error = build_report([manifest(write_script(tmp_path)), raised(), closing()]).incidents[0].exception
    assert error is not None and error.location is not None and error.location.excerpt is not None
    assert Location(error.location.file, error.location.line) == Location("train.py", 7)
