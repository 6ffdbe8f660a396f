"""Reading back: damage of every kind is named, and nothing that can be read is lost."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporters.handmade import SCALER, bad_sample, closing, log_of_zero, manifest, raised, spike, where_trap

from stayfinite.errors import RecordingError
from stayfinite.recording.layout import EVENTS
from stayfinite.recording.reader import read_recording
from stayfinite.records.diagnosis import Diagnosis, Hypothesis
from stayfinite.records.encoding import encode
from stayfinite.records.finding import Warning
from stayfinite.records.incident import Case, Incident, Symptom
from stayfinite.records.manifest import Manifest
from stayfinite.records.recording import Record, Recording, Repeats, Stage, gather
from stayfinite.records.tensor import TensorStats

RECORDS: list[Record] = [
    manifest("/home/someone"), Symptom("nonfinite-loss", 3, "loss", "nan", names=("a",)), Stage("b0b1", "replay"),
    where_trap().case.trace, where_trap().case, where_trap(), raised(), SCALER, bad_sample(), spike(), log_of_zero(),
    Repeats("4a1b9c0d2e3f", 57, 57, 113), closing(),
]


def written(folder: Path, records: list[Record]) -> bytes:
    data = b"".join(encode(record) + b"\n" for record in records)
    (folder / EVENTS).write_bytes(data)
    return data


def whole(folder: Path, records: list[Record]) -> Recording:
    return gather(records, folder=str(folder))


def test_round_trip(tmp_path: Path) -> None:
    written(tmp_path, RECORDS)
    assert read_recording(tmp_path) == whole(tmp_path, RECORDS)
    assert read_recording(tmp_path / EVENTS) == whole(tmp_path, RECORDS)
    assert read_recording(str(tmp_path)) == whole(tmp_path, RECORDS)


def test_a_file_cut_off_at_any_byte_is_read_up_to_there(tmp_path: Path) -> None:
    few: list[Record] = [manifest(), Symptom("nonfinite-loss", 3, "loss", "nan"), raised(), SCALER, closing()]
    data = written(tmp_path, few)
    first = data.index(b"\n")
    for length in range(len(data)):
        (tmp_path / EVENTS).write_bytes(data[:length])
        if length < first:
            with pytest.raises(RecordingError, match=str(tmp_path)):
                read_recording(tmp_path)
            continue
        read = read_recording(tmp_path)
        complete = data[:length].count(b"\n") + (data[length : length + 1] == b"\n")  # one may lack its newline only
        want = whole(tmp_path, few[:complete])
        assert msgspec.structs.replace(read, damaged=()) == want
        assert bool(read.damaged) == (complete < len(few))


def test_broken_lines_and_records_of_newer_versions_are_passed_over_and_named(tmp_path: Path) -> None:
    lines = [encode(record) for record in RECORDS]
    lines[2:2] = [b"\xff\xfe garbage", b'{"type":"hologram","x":1}', b'{"type":"hologram"}', b"[1, 2]", b"", b'{"a":1}']
    lines[4] = b'{"type":"symptom","detector":7}'
    (tmp_path / EVENTS).write_bytes(b"\n".join(lines) + b"\n")
    read = read_recording(tmp_path)
    assert read.incidents == whole(tmp_path, RECORDS).incidents
    assert len(read.damaged) == 6
    assert read.damaged[0].startswith("line 3 is broken: ")
    assert read.damaged[-1] == "1 of kind 'hologram', which this version does not know"


def test_fields_of_newer_versions_are_ignored(tmp_path: Path) -> None:
    plain = msgspec.json.decode(encode(log_of_zero()))
    plain["mood"] = "grim"
    (tmp_path / EVENTS).write_bytes(encode(manifest()) + b"\n" + msgspec.json.encode(plain) + b"\n")
    assert read_recording(tmp_path).incidents == (log_of_zero(),)


def test_a_newer_schema_is_read_with_a_note_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    newer = msgspec.structs.replace(manifest(), schema="stayfinite.recording/2")
    written(tmp_path, [newer, log_of_zero(), closing()])
    read = read_recording(tmp_path)
    assert read.incidents == (log_of_zero(),)
    assert read.damaged == ("written as stayfinite.recording/2 by stayfinite 0.1.0; read as stayfinite.recording/1",)
    written(tmp_path, [msgspec.structs.replace(manifest(), schema="other/1"), closing()])
    with pytest.raises(RecordingError, match="its schema is 'other/1'"):
        read_recording(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "events.jsonl is empty"),
        (b"\x80\x04\x95", "cut off after 3 bytes"),
        (b'{"type":"closing","status":"clean","steps":1,"seconds":1,"exit_code":0}\n', "first record is a closing"),
        (b'{"type":"hologram"}\n', "of an unknown kind"),
        (b"{}\n", "line 1 is broken"),
    ],
)
def test_what_is_no_recording_is_refused_with_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / EVENTS).write_bytes(content)
    with pytest.raises(RecordingError, match=said) as caught:
        read_recording(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_messages_say_which_folder_to_name(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"it has no events\.jsonl: name a folder"):
        read_recording(tmp_path)
    (tmp_path / "20260131T101502Z-train").mkdir()
    written(tmp_path / "20260131T101502Z-train", RECORDS)
    with pytest.raises(RecordingError, match=r"holds 1 recording; name one, e\.g\. .*20260131T101502Z-train"):
        read_recording(tmp_path)


def test_non_finite_numbers_survive_in_fields_that_should_not_hold_them(tmp_path: Path) -> None:
    stats = TensorStats("x", (2,), "float32", min=-math.inf, max=math.nan, culprit=math.inf)
    hypothesis = Hypothesis("unknown", "", score=math.inf, probability=math.nan)
    case = Case(Symptom("nonfinite-loss", 1, "loss", math.nan), batch=(stats,))
    written(tmp_path, [manifest(), Incident("a", case, Diagnosis((hypothesis,))), closing()])
    incident = read_recording(tmp_path).incidents[0]
    assert incident.diagnosis.hypotheses[0].score == math.inf
    assert math.isnan(incident.diagnosis.hypotheses[0].probability)
    assert str(incident.case.symptom.value) == "nan"


def test_numbers_of_numpy_become_plain(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    symptom = Symptom("loss-spike", numpy.int64(4), "loss", numpy.float32("inf"))
    written(tmp_path, [manifest(), symptom, Symptom("loss-spike", 5, "loss", numpy.float64(2.5)), closing()])
    assert [(s.step, s.value) for s in read_recording(tmp_path).symptoms] == [(4, "+inf"), (5, 2.5)]


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters()), number=st.floats(), count=st.integers(-(2**70), 2**70))
def test_wild_text_and_numbers_round_trip(
    tmp_path_factory: pytest.TempPathFactory, text: str, number: float, count: int
) -> None:
    folder = tmp_path_factory.mktemp("wild")
    records: list[Record] = [
        manifest(), Symptom(text, count, text, number, names=(text, text)), Warning(text, text), closing(),
    ]
    data = written(folder, records)
    assert data.count(b"\n") == len(records)
    read = read_recording(folder)
    symptom = read.symptoms[0]
    assert (symptom.step, read.damaged) == (count, ())
    assert symptom.detector.encode() == text.encode("utf-8", "backslashreplace")
    assert math.isfinite(number) == isinstance(symptom.value, float)
    assert isinstance(read.manifest, Manifest)
