"""What a person reads after a failure: the wording, the layout, and that nothing from outside can break it."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporters.handmade import (
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
from reporters.wild import incidents
from rich.cells import cell_len

from stayfinite.recording.writer import Recorder
from stayfinite.records.diagnosis import Diagnosis, Evidence
from stayfinite.records.incident import Incident
from stayfinite.records.recording import Record, Repeats
from stayfinite.reporters import terminal
from stayfinite.reporters.report import build_report

FOLDER = "stayfinite-reports/20260131T101502Z-train"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return write_script(tmp_path)


def told(records: list[Record], *, width: int = 80, encoding: str = "utf-8", color: bool = False, **more: str) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    terminal.render(build_report(records), out, width=width, color=color, folder=FOLDER, **more)
    return out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def test_log_of_zero(here: Path) -> None:
    text = told([manifest(here), log_of_zero(), Repeats("4a1b9c0d2e3f", 57, 57, 113), SCALER, closing()])
    assert text == """\
── stayfinite · train.py ─────────────────────────────────────── torch 2.13.0 ──

✗ step 57: the loss became +inf
  The step was held: weights and optimizer state are those after step 56.
  Replayed twice, and it happened again.
  Seen 57 times, the last in step 113.

  train.py:7:13 in loss_fn · loss
   5 │     p = torch.softmax(logits, 1)
   6 │     picked = p[torch.arange(len(target)), target]
 ❱ 7 │     return -torch.log(picked).mean()
     │             ^^^^^^^^^^^^^^^^^
     │ log: -inf in 1 of 32 elements, from picked[17] = 0

  operation  log (aten.log.default)
     sample  17 of a batch of 32, dataset index 1377

  the numbers
              shape  dtype    -inf  zeros    min      max  element
    picked    32     float32     0      1      0   0.9998  picked[17] = 0
    → result  32     float32     1      0  -4.61  -0.0002  result[17] = -inf

  how it spread
    log   train.py:7  -inf in 1 of 32 elements
    mean  train.py:7  -inf
    neg   train.py:7  +inf
    → the loss and the gradient of net.head.weight

  steps 21 to 57
    loss           ███▇▇▆▆▆▅▅▅▄▄▄▄▃▃▃▃▂▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁×  0.7441 … 0.1301 → +inf
    gradient norm  █▃▆▁▅█▃▆▁▅█▃▆▁▅█▃▆▁▅█▃▆▁▅█▃▆▁▅█▃▆▁▅   2.2 … 1 → 1.6

  why, most likely first
     93 %  log-of-zero: The logarithm of an exact zero
           +4.0 bits  picked holds an exact zero where the logarithm is -inf
           +0.8 bits  the loss fell steadily until the step before
      4 %  half-precision-underflow: A small number became zero in a
           half-precision format
           -1.0 bits  the argument is float32
      3 %  unknown: Nothing known here explains it
           1 less likely cause not shown

  not known
    · no cause was tested by experiment: the order rests on evidence alone

  also
    · the loss scaler skipped 2 steps while it found its scale; that is normal

  next
    stayfinite explain log-of-zero
      what this cause is and what cures it
    stayfinite replay stayfinite-reports/20260131T101502Z-train
      the step again, in a fresh process
    stayfinite report stayfinite-reports/20260131T101502Z-train
      this report again; --json and --markdown write files
"""


def test_where_trap_on_a_narrow_ascii_terminal(here: Path) -> None:
    assert told([manifest(here), where_trap(), closing()], width=60, encoding="ascii") == """\
-- stayfinite - train.py ------------------- torch 2.13.0 --

x step 3: the gradient of encoder.0.weight, encoder.0.bias,
  encoder.2.weight and 2 more became nan
  The step was held: weights and optimizer state are those
  after step 2.
  An undo copy of 12 kB was kept, because the parameters are
  half precision.
  Replayed twice, and it happened again.

  train.py:12:12 in distance - backward pass
   10 | def distance(a, b):
   11 |     squared = ((a - b) ** 2).sum(1)
 > 12 |     root = squared ** 0.5
      |            ^^^^^^^^^^^^^^
      | backward of pow: nan in 2 of 8 elements, from
      | squared[2] = 0
   13 |     return torch.where(squared > 0, root, torch.z...

  train.py:13:12 in distance
   11 | squared = ((a - b) ** 2).sum(1)
   12 | root = squared ** 0.5
 > 13 | return torch.where(squared > 0, root, torch.zeros...
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      | hidden here: the value was masked, its gradient was
      | not

  operation  pow (aten.pow.Tensor_Scalar)
     module  encoder
    samples  2, 5 of a batch of 8

  the numbers
    squared  8 float32
      finite, 0 to 3.2, 2 zeros
      squared[2] = 0
    -> result  8 float32
      nan in 2 of 8 elements, the rest -0.5 to 0.4
      result[2] = nan

  why
    >99 %  where-gradient-trap: A where hides a value but
           not its slope

  not known
    - the tracer could not look into one compiled function
    - no cause was tested by experiment: the order rests on
      evidence alone

  next
    stayfinite explain where-gradient-trap
      what this cause is and what cures it
    stayfinite replay stayfinite-reports/20260131T101502Z-train
      the step again, in a fresh process
    stayfinite report stayfinite-reports/20260131T101502Z-train
      this report again; --json and --markdown write files
"""


def test_bad_sample(here: Path) -> None:
    assert told([manifest(here), bad_sample(), closing()], width=100) == """\
── stayfinite · train.py ─────────────────────────────────────────────────────────── torch 2.13.0 ──

✗ step 0: the loss became nan
  The step was held: weights and optimizer state are those from before the first step.
  Replayed twice, and it happened again.

  train.py:5:9 in loss_fn · data
   4 │ def loss_fn(logits, target):
 ❱ 5 │     p = torch.softmax(logits, 1)
     │         ^^^^^^^^^^^^^^^^^^^^^^^^ input x: nan in 1 of 128 elements, x[3, 5] = nan
   6 │     picked = p[torch.arange(len(target)), target]
   7 │     return -torch.log(picked).mean()

  first read by  aten.addmm.default
         sample  3 of a batch of 16, dataset index 403
         column  creatinine

  the numbers
       shape  dtype    nan   min  max  element
    x  16x8   float32    1  -2.1  2.4  x[3, 5] = nan

  how it spread
    batch x              nan in 1 of 128 elements
    matmul   train.py:5  nan in 4 of 64 elements
    mean     train.py:5  nan
    → the loss

  why
    100 %  nonfinite-input: A sample holds a value that is not finite

  not known
    · no cause was tested by experiment: the order rests on evidence alone

  next
    stayfinite explain nonfinite-input
      what this cause is and what cures it
    stayfinite replay stayfinite-reports/20260131T101502Z-train
      the step again, in a fresh process
    stayfinite report stayfinite-reports/20260131T101502Z-train
      this report again; --json and --markdown write files
"""


def test_exception_that_could_not_be_located(here: Path) -> None:
    assert told([manifest(here), raised(), closing("incident", 1)], width=100) == """\
── stayfinite · train.py ─────────────────────────────────────────────────────────── torch 2.13.0 ──

✗ step 5 raised ValueError: Expected value argument to be within the support
  The exception was passed on; the step was held: weights and optimizer state are those after step
  4.
  Not replayed: step not repeatable: the batch differs.

  train.py:7:13 in loss_fn
   5 │     p = torch.softmax(logits, 1)
   6 │     picked = p[torch.arange(len(target)), target]
 ❱ 7 │     return -torch.log(picked).mean()
     │             ^^^^^^^^^^^^^^^^^ raised ValueError

  not known
    · where it was born: the step could not be replayed: step not repeatable: the batch differs
    · why it happened: no cause was ranked

  next
    stayfinite replay stayfinite-reports/20260131T101502Z-train
      the step again, in a fresh process
    stayfinite report stayfinite-reports/20260131T101502Z-train
      this report again; --json and --markdown write files
"""


def test_the_first_incident_and_those_that_stopped_in_full_others_in_brief(here: Path) -> None:
    skipped = msgspec.structs.replace(bad_sample(44), stopped=False)
    text = told([manifest(here), spike(), skipped, Repeats("d0d1d2d3d4d5", 3, 44, 50), log_of_zero(), closing()])
    assert "! step 40: the loss jumped to 812.5; expected 10 x the median of 50 steps" in text
    assert "step 57: the loss became +inf\n  The step was held" in text
    assert "  1 other incident\n    ! step 44: the loss became nan, 3 times until step 50\n" in text
    assert "      train.py:5:9 · nonfinite-input 100 %\n" in text


def test_one_incident_alone(here: Path) -> None:
    text = told([manifest(here), spike(), log_of_zero(), closing()], incident="f0f1f2f3f4f5")
    assert "! step 40" in text and "  next\n" in text
    assert "step 57" not in text and "explain" not in text


def test_a_clean_run_is_one_line(here: Path) -> None:
    assert told([manifest(here), closing("clean", 0)]) == "stayfinite: train.py: 58 steps in 4.1 s, nothing found\n"


def test_a_clean_run_with_something_to_say(here: Path) -> None:
    text = told([manifest(here), SCALER, closing("clean", 0)], width=60)
    assert text == """\
── stayfinite · train.py ─────────────────── torch 2.13.0 ──
train.py: 58 steps in 4.1 s, nothing found

  also
    · the loss scaler skipped 2 steps while it found its
      scale; that is normal
"""


def test_source_that_changed_is_not_shown_as_what_ran(here: Path) -> None:
    (here / "train.py").write_text("print('all new')\n" * 30)
    text = told([manifest(here), log_of_zero(), closing()])
    assert " ❱ 7 │ return -torch.log(picked).mean()\n" in text
    assert "     │         ^^^^^^^^^^^^^^^^^\n     │ log: -inf in 1 of 32" in text
    assert "(the source has changed since)" in text
    assert "all new" not in text


@pytest.mark.parametrize("width", [40, 60, 79, 100, 160, 250])
@pytest.mark.parametrize("make", [log_of_zero, where_trap, bad_sample, raised, spike])
def test_lines_fit(here: Path, make: type[Incident], width: int) -> None:
    for encoding in ("utf-8", "ascii", "latin-1"):
        text = told([manifest(here), make(), closing()], width=width, encoding=encoding)
        assert fitting(text, width) == text.splitlines()


def fitting(text: str, width: int) -> list[str]:
    """The lines of `text` that fit; commands are never broken, because people copy them."""
    return [x for x in text.splitlines() if cell_len(x) <= width or x.startswith("    stayfinite ")]


def test_carets_stand_under_the_expression_whatever_is_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for before in ("x = ", "\tx = ", "名前 = ", "é = '\u202e' + ", "x = " + "a + " * 60):
        line = f"{before}torch.log(picked)"
        (tmp_path / "train.py").write_text(f"import torch\n{line}\n", encoding="utf-8")
        incident = log_of_zero()
        assert incident.case.origin is not None
        start = len(before.encode())
        at = msgspec.structs.replace(
            incident.case.origin.location, line=2, end_line=2, column=start, end_column=start + 17, code=line.strip()
        )
        origin = msgspec.structs.replace(incident.case.origin, location=at)
        moved = msgspec.structs.replace(incident, case=msgspec.structs.replace(incident.case, origin=origin))
        text = told([manifest(tmp_path), moved, closing()], width=100).splitlines()
        row = next(i for i, shown in enumerate(text) if "❱" in shown)
        carets = text[row + 1]
        first, last = carets.index("^"), carets.rindex("^") + 1
        cells = "".join(c if cell_len(c) == 1 else c + "\0" * (cell_len(c) - 1) for c in text[row])
        assert cells[first:last] == "torch.log(picked)", before


def test_paths_can_be_clicked_from_where_one_is(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[Record] = [manifest(here), log_of_zero(), closing()]
    (here / "below").mkdir()
    for place, shown in ((here, "train.py:7:13"), (here.parent, f"{here.name}/train.py:7:13"),
                         (here / "below", f"{here}/train.py:7:13")):
        monkeypatch.chdir(place)
        assert f"  {shown} in loss_fn" in told(records, width=250)


def test_a_working_directory_that_is_gone_is_no_failure(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    (here / "below").rmdir()
    for folder in (str(here), "relative", ""):
        assert "step 57: the loss became +inf" in told([manifest(folder), log_of_zero(), closing()])
    Recorder(manifest()).append(log_of_zero())


def test_color_and_links_only_where_they_are_wanted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[Record] = [manifest(here), log_of_zero(), closing()]
    colored = told(records, color=True)
    assert "\x1b[" in colored and "\x1b]8;id=" in colored and f"file://{here}/train.py" in colored
    bare = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", colored)
    assert bare == told(records)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for environment, wanted in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with monkeypatch.context() as patch:
            for name in ("NO_COLOR", "FORCE_COLOR"):
                patch.delenv(name, raising=False)
            patch.setenv("TERM", "xterm-256color")
            for name, value in environment.items():
                patch.setenv(name, value)
            assert terminal.wants_color(Terminal()) is wanted
            assert terminal.wants_color(io.StringIO()) is False
            patch.setenv("FORCE_COLOR", "1")
            assert terminal.wants_color(io.StringIO()) is ("NO_COLOR" not in environment)


def test_the_width_comes_from_the_environment_where_there_is_no_terminal(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = build_report([manifest(here), log_of_zero(), closing()])
    for columns, width in (("60", 60), ("", 100), ("nonsense", 100), ("0", 100), ("50", 50)):
        monkeypatch.setenv("COLUMNS", columns)
        out = io.StringIO()
        terminal.render(report, out, color=False)
        assert cell_len(out.getvalue().splitlines()[0]) == width


def test_markup_of_the_user_stays_text(here: Path) -> None:
    incident = log_of_zero()
    cause = msgspec.structs.replace(
        incident.diagnosis.hypotheses[0], evidence=(Evidence("[bold]x[/] :smile: \x1b[31m\x07", 1.0, "fact"),)
    )
    changed = msgspec.structs.replace(incident, diagnosis=Diagnosis((cause,)))
    assert "[bold]x[/] :smile: \\x1b[31m\\x07" in told([manifest(here), changed, closing()], width=120)


@settings(max_examples=150, deadline=None)
@given(incidents(), st.integers(40, 220), st.sampled_from(["utf-8", "ascii", "cp1252"]))
def test_nothing_from_outside_breaks_it(incident: Incident, width: int, encoding: str) -> None:
    text = told([manifest(), incident, SCALER, closing()], width=width, encoding=encoding)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    if encoding == "utf-8":  # elsewhere one character may become an escape sequence of ten
        assert fitting(text, width) == text.split("\n")[:-1]


def test_rich_is_loaded_only_to_render() -> None:
    source = "import sys, stayfinite.reporters.terminal, stayfinite.reporters.report; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout.split()
    assert "stayfinite.reporters.terminal" in output
    assert not [name for name in output if name.split(".")[0] in ("rich", "jinja2", "numpy", "torch", "click")]
