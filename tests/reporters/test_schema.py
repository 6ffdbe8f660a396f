"""The shipped JSON Schema is that of the structs, and reports satisfy it."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from reporters.handmade import (
    SCALER,
    bad_sample,
    closing,
    cured,
    log_of_zero,
    manifest,
    raised,
    spike,
    where_trap,
    write_script,
)

from stayfinite.records.recording import Record
from stayfinite.reporters import json as json_reporter
from stayfinite.reporters.report import build_report
from stayfinite.reporters.schema import FILE, encoded

SCHEMA = json.loads(FILE.read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def as_json(records: list[Record]) -> Any:
    out = io.StringIO()
    json_reporter.render(build_report(records), out)
    return json.loads(out.getvalue(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_the_shipped_schema_is_current() -> None:
    assert FILE.read_bytes() == encoded(), "run: python -m stayfinite.reporters.schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "records",
    [
        [], [closing("clean", 0)], [log_of_zero(), closing()], [where_trap(), SCALER, closing()],
        [cured(), closing()], [bad_sample(), closing()], [raised(), closing("incident", 1)],
        [spike(), log_of_zero(), where_trap(), bad_sample(), raised(), closing()],
    ],
)
def test_reports_satisfy_it(tmp_path: Path, records: list[Record]) -> None:
    VALIDATOR.validate(as_json([manifest(write_script(tmp_path)), *records]))


def test_it_refuses_what_lacks_a_field_or_holds_a_wrong_value() -> None:
    good = as_json([manifest(), log_of_zero(), closing()])
    VALIDATOR.validate(good)
    paths: list[tuple[Any, ...]] = [
        ("schema",), ("status",), ("run", "steps"), ("incidents", 0, "origin", "line"), ("incidents", 0, "value"),
        ("incidents", 0, "causes", 0, "verdict"), ("incidents", 0, "origin", "inputs", 0, "min"),
    ]
    for path in paths:
        for change in ("remove", "spoil"):
            bad = copy.deepcopy(good)
            inner = bad
            for key in path[:-1]:
                inner = inner[key]
            if change == "remove":
                del inner[path[-1]]
            else:
                inner[path[-1]] = "infinity"
            assert not VALIDATOR.is_valid(bad), (path, change)


def test_json_for_an_ascii_terminal_is_the_same_document(tmp_path: Path) -> None:
    record = manifest(tmp_path / "naïve 😀")
    text = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    json_reporter.render(build_report([record, closing("clean", 0)]), text)
    text.flush()
    assert json.loads(text.buffer.getvalue())["run"]["folder"] == str(tmp_path / "naïve 😀")  # type: ignore[attr-defined]


def test_bytes_for_a_file() -> None:
    report = build_report([manifest(), log_of_zero(), closing()])
    out = io.StringIO()
    json_reporter.render(report, out)
    assert json_reporter.to_bytes(report).decode() == out.getvalue()
