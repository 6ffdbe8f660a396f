"""The recorder: what is on disk when, what happens when the disk fails, and what a flood of incidents costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reporters.handmade import SCALER, closing, log_of_zero, manifest, where_trap

from stayfinite.errors import RecordingError
from stayfinite.recording.layout import EVENTS
from stayfinite.recording.reader import read_recording
from stayfinite.recording.writer import MAX_INCIDENTS, MAX_MINOR, Recorder
from stayfinite.records.incident import Symptom
from stayfinite.records.recording import Repeats, Stage, gather

resource = pytest.importorskip("resource", reason="limits of a process are POSIX only")


def filled(folder: Path | None = None) -> Recorder:
    recorder = Recorder(manifest(), folder)
    for record in (Symptom("nonfinite-loss", 3, "loss", "nan"), Stage("b0b1b2b3b4b5", "replay"), where_trap()):
        recorder.append(record)
    return recorder


def test_nothing_is_written_before_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorder = filled()
    recorder.append(log_of_zero())
    recorder.close(closing())
    assert list(tmp_path.iterdir()) == []
    assert recorder.folder is None
    assert recorder.recording().incidents == (where_trap(), log_of_zero())
    assert recorder.case_folder("b0b1b2b3b4b5") is None
    assert recorder.save("report.json", b"{}") is None


def test_what_was_known_before_open_is_written_then(tmp_path: Path) -> None:
    recorder = filled(tmp_path / "out")
    assert recorder.open() == tmp_path / "out"
    assert recorder.open() == tmp_path / "out", "a second call does nothing more"
    read = read_recording(tmp_path / "out")
    assert read.incidents == (where_trap(),)
    assert read.closing is None
    assert any("no closing" in note for note in read.damaged)


def test_every_record_is_on_disk_before_append_returns(tmp_path: Path) -> None:
    recorder = filled(tmp_path / "out")
    recorder.open()
    for number, record in enumerate((SCALER, Stage("x", "rank"), log_of_zero()), 1):
        recorder.append(record)
        with (tmp_path / "out" / EVENTS).open("rb") as file:
            assert sum(1 for _ in file) == 4 + number


def test_memory_and_disk_agree(tmp_path: Path) -> None:
    recorder = filled(tmp_path / "out")
    recorder.open()
    recorder.append(SCALER)
    for step in range(57, 67):
        recorder.append(log_of_zero(step))
    recorder.close(closing())
    assert recorder.failure is None
    assert read_recording(tmp_path / "out") == recorder.recording()


def test_the_default_folder_ignores_itself_and_is_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = Recorder(manifest()), Recorder(manifest())
    monkeypatch.chdir("/")  # a script may go elsewhere; reports stay where it was started
    places = [first.open(), second.open()]
    assert None not in places and places[0] != places[1]
    for place in places:
        assert place is not None
        assert place.parent == tmp_path / "stayfinite-reports"
        assert "-train" in place.name
        assert (place / ".gitignore").read_text() == "*\n"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    status = subprocess.run(["git", "-C", str(tmp_path), "status", "--porcelain"], check=True, capture_output=True)
    assert status.stdout == b""


def test_a_named_folder_keeps_what_was_in_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for exit_code in (0, 1, 2):
        recorder = Recorder(manifest(), tmp_path)
        recorder.open()
        recorder.save("report.json", b"%d" % exit_code)
        assert recorder.case_folder("abc") == tmp_path / "cases" / "abc"
        recorder.close(closing("clean", exit_code))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / ".gitignore").exists(), "a folder with other things in it must not vanish from git"
    assert (tmp_path / "report.json").read_bytes() == b"2"
    for number in (1, 2):
        assert read_recording(tmp_path / f"earlier-{number}").closing == closing("clean", number - 1)
    assert (tmp_path / "earlier-1" / "cases" / "abc").is_dir()


def test_an_incident_of_the_same_step_replaces_and_of_another_counts() -> None:
    recorder = filled()
    recorder.append(log_of_zero(57, stopped=False))
    recorder.append(log_of_zero(57, stopped=True))
    recorder.append(log_of_zero(60))
    recorder.append(log_of_zero(61))
    recording = recorder.recording()
    assert recording.incidents == (where_trap(), log_of_zero(57))
    assert recording.repeats == (Repeats("4a1b9c0d2e3f", 3, 57, 61),)


def test_an_incident_at_every_step_does_not_flood_the_disk(tmp_path: Path) -> None:
    recorder = Recorder(manifest(), tmp_path / "out")
    recorder.open()
    for step in range(6_000):
        recorder.append(log_of_zero(step, identity=f"{step % 50:012d}"))
        recorder.append(Symptom("nonfinite-loss", step, "loss", "nan"))
        recorder.append(Stage(f"{step % 50:012d}", "done"))
    recorder.close(closing())
    assert (tmp_path / "out" / EVENTS).stat().st_size < 500_000
    read = read_recording(tmp_path / "out")
    assert len(read.incidents) == MAX_INCIDENTS
    assert len(read.symptoms) == MAX_MINOR[Symptom]
    counts = {repeats.incident: repeats.count for repeats in read.repeats}
    assert counts["000000000000"] == 120
    assert counts[""] == 6_000 - 120 * MAX_INCIDENTS
    assert any(warning.id == "records-not-stored" for warning in read.warnings)


def test_a_record_that_has_no_json_form_costs_only_itself(tmp_path: Path) -> None:
    recorder = Recorder(manifest(), tmp_path / "out")
    recorder.open()
    recorder.append(Symptom("nonfinite-loss", 3, "loss", value=object()))  # type: ignore[arg-type]
    recorder.append(SCALER)
    assert recorder.failure is not None and "symptom could not be written" in recorder.failure
    recorder.close(closing())
    assert read_recording(tmp_path / "out").warnings == (SCALER,)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recorder = filled(tmp_path / "file" / "out")
    assert recorder.open() is None
    assert recorder.failure is not None and str(tmp_path / "file" / "out") in recorder.failure
    recorder.append(log_of_zero())
    recorder.close(closing())
    assert recorder.recording().incidents == (where_trap(), log_of_zero())
    assert recorder.recording().closing == closing()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    recorder = filled(tmp_path / "out")
    recorder.open()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recorder._file)
    os.close(full)
    recorder.append(log_of_zero())
    assert recorder.failure is not None and "No space left" in recorder.failure
    recorder.append(SCALER)
    recorder.close(closing())
    assert "No space left" in recorder.failure
    assert recorder.recording().incidents == (where_trap(), log_of_zero())


LIMITED = """
import resource, signal, sys
from pathlib import Path
from reporters.handmade import closing, log_of_zero, manifest, where_trap, SCALER
from stayfinite.recording.writer import Recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recorder = Recorder(manifest(), Path(sys.argv[1]))
recorder.open()
recorder.append(where_trap())
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
recorder.append(log_of_zero())
print(recorder.failure)
recorder.append(SCALER)
if sys.argv[3] == "freed":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
recorder.close(closing())
print(recorder.failure)
"""


def python(source: str, *args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, "-c", source, *args], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("room", [0, 700, 3000, 4500])
def test_a_disk_that_fills_in_the_middle_of_a_record_leaves_a_readable_file(tmp_path: Path, room: int) -> None:
    process = python(LIMITED, str(tmp_path / "out"), str(room), "full")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.count("File too large") == 2
    read = read_recording(tmp_path / "out")
    assert read.incidents == (where_trap(),)
    assert not any("broken" in note or "cut off" in note for note in read.damaged)


def test_what_a_full_disk_refused_is_written_at_the_end_if_there_is_room_again(tmp_path: Path) -> None:
    output, _ = python(LIMITED, str(tmp_path / "out"), "3000", "freed").communicate(timeout=60)
    assert "File too large" in output.splitlines()[0] and output.splitlines()[1] == "None"
    read = read_recording(tmp_path / "out")
    assert read == gather(
        [manifest(), where_trap(), log_of_zero(), SCALER, closing()], folder=str(tmp_path / "out")
    )


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from reporters.handmade import closing, log_of_zero, manifest
from stayfinite.recording.writer import Recorder
recorder = Recorder(manifest(), Path(sys.argv[1], "out") if len(sys.argv) > 1 else None)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
recorder.append(log_of_zero())
print(recorder.open(), recorder.failure)
recorder.close(closing())
print(len(recorder.recording().incidents))
"""


def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        output, _ = python(UNPRIVILEGED, str(tmp_path)).communicate(timeout=60)
    finally:
        tmp_path.chmod(0o755)
    assert output == f"None the recording could not be written to {tmp_path / 'out'}: Permission denied\n1\n"


ENDLESS = """
import sys
from pathlib import Path
from reporters.handmade import log_of_zero, manifest
from stayfinite.recording.writer import Recorder
recorder = Recorder(manifest(), Path(sys.argv[1]))
recorder.open()
print("open", flush=True)
step = 0
while True:
    recorder.append(log_of_zero(step % 5, identity=f"{step % 15:012d}"))
    step += 1
"""


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.2])
def test_a_process_killed_while_writing_leaves_a_readable_recording(tmp_path: Path, delay: float) -> None:
    process = python(ENDLESS, str(tmp_path / "out"))
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    process.stdout.close()
    read = read_recording(tmp_path / "out")
    assert read.manifest == manifest()
    assert read.closing is None
    assert all(incident.case == log_of_zero(incident.case.symptom.step).case for incident in read.incidents)
    assert not any("broken" in note for note in read.damaged)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_write_into_the_recording(tmp_path: Path) -> None:
    recorder = filled(tmp_path / "out")
    recorder.open()
    before = (tmp_path / "out" / EVENTS).read_bytes()
    child = os.fork()
    if child == 0:
        try:
            recorder.append(log_of_zero())
            recorder.save("report.json", b"child")
            recorder.close(closing())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "out" / EVENTS).read_bytes() == before
    assert not (tmp_path / "out" / "report.json").exists()


def test_save_is_whole_or_not_at_all(tmp_path: Path) -> None:
    recorder = filled(tmp_path / "out")
    recorder.open()
    assert recorder.save("report.json", b"one") == tmp_path / "out" / "report.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        assert recorder.save("report.json", b"two" * 1000) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "out" / "report.json").read_bytes() == b"one"
    assert not (tmp_path / "out" / "report.json.part").exists()
    assert recorder.failure is not None


def test_incident_ids_cannot_leave_the_folder(tmp_path: Path) -> None:
    recorder = filled(tmp_path / "out")
    recorder.open()
    place = recorder.case_folder("../../../etc")
    assert place is not None and place.parent == tmp_path / "out" / "cases"


def test_the_writer_loads_nothing_heavy() -> None:
    source = "import sys, stayfinite.recording.writer as w; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    output, _ = python(source).communicate(timeout=60)
    assert {"msgspec", "stayfinite"} <= set(output.split())
    assert not {"rich", "jinja2", "numpy", "torch", "click"} & set(output.split())


def test_a_missing_recording_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such folder"):
        read_recording(tmp_path / "nowhere")
