"""What was tested and what cures it: the same on a terminal, in Markdown and in JSON, and short."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from reporters.handmade import closing, cured, log_of_zero, manifest, raised, write_script

from stayfinite.records.diagnosis import Diagnosis, Experiment, Hypothesis, Remedy, Trial
from stayfinite.records.encoding import to_plain
from stayfinite.records.fix import Fix
from stayfinite.records.incident import Incident
from stayfinite.reporters import markdown, terminal
from stayfinite.reporters.report import build_report
from stayfinite.reporters.sparkline import over, sparkline
from stayfinite.reporters.words import comparison, conclusion


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_script(tmp_path)


def on_terminal(here: Path, incident: Incident, width: int = 80, *, color: bool = False) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    terminal.render(build_report([manifest(here), incident, closing()]), out, width=width, color=color, folder="reports/x")
    return out.buffer.getvalue().decode()  # type: ignore[attr-defined]


def test_a_terminal_tells_the_proof_first_and_the_cure_in_full(here: Path) -> None:
    text = on_terminal(here, cured())
    head, _, rest = text.partition("  train.py:7:13 in loss_fn")
    assert head.endswith("""\
  Confirmed by experiment: log-of-zero at train.py:7; verified cure: compute the
  logarithm from the logits.

""")
    assert rest[rest.index("  why, most") :] == """\
  why, most likely first
     97 %  log-of-zero: The logarithm of an exact zero (confirmed by experiment)
           +4.0 bits  picked holds an exact zero where the logarithm is -inf
           +0.8 bits  the loss fell steadily until the step before
      4 %  half-precision-underflow: A small number became zero in a
           half-precision format (refuted by experiment)
           -1.0 bits  the argument is float32
      3 %  unknown: Nothing known here explains it
           1 less likely cause not shown

  tested · 9 replays, 1.8 s in all
    with it  without  placebo
    finite   +inf     +inf     log-of-zero: log at train.py:7 as log softmax;
                               placebo: softmax at train.py:5 as shifted softmax
                               (4 replays, 0.2 s)
    +inf     +inf     -        half-precision-underflow: log at train.py:7 in
                               float64 (1 replay, 0.1 s)

  cures
    ✓ use-log-softmax: Compute the logarithm from the logits (verified, safe to
      apply)
      With it the loss went from 2.3 to 0.318 in 60 steps; without it the loss
      was +inf at step 57.
      with it     ██▇▇▆▆▆▅▅▅▄▄▄▄▃▃▃▃▃▂▂▂▂▂▂▂▁▁▁▁  2.3 … 0.3284 → 0.3176
      without it  ██▇▆▆▅▅▄▄▃▃▃▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁×   2.3 … 0.1301 → +inf
      cost  nothing: it is the same function, with less rounding

      --- a/train.py
      +++ b/train.py
      @@ -4,4 +4,4 @@
       def loss_fn(logits, target):
      -    p = torch.softmax(logits, 1)
      +    p = torch.log_softmax(logits, 1)
           picked = p[torch.arange(len(target)), target]
      -    return -torch.log(picked).mean()
      +    return -picked.mean()

    ✗ clamp-the-argument: Keep the argument of the logarithm above 1e-7
      (refused: the loss is finite, but samples 17 get no gradient)
    ✗ lower-the-rate: Train with a tenth of the learning rate (does not help:
      the loss was not finite at step 61)

  next
    stayfinite explain log-of-zero
      what this cause is and what cures it
    stayfinite fix --incident reports/x
      applies the verified cure; --diff shows it
    stayfinite replay reports/x
      the step again, in a fresh process
    stayfinite report reports/x
      this report again; --json and --markdown write files
"""


@pytest.mark.parametrize("width", [40, 50, 79, 100, 200])
def test_lines_fit(here: Path, width: int) -> None:
    body = on_terminal(here, cured(), width).partition("  next")[0]
    assert max(map(len, body.splitlines())) <= width


def test_a_diff_has_the_colours_people_know(here: Path) -> None:
    text = on_terminal(here, cured(), 100, color=True)
    assert "\x1b[31m-    p = torch.softmax(logits, 1)\x1b[0m" in text
    assert "\x1b[32m+    p = torch.log_softmax(logits, 1)\x1b[0m" in text
    assert "\x1b[" not in on_terminal(here, cured(), 100)


def test_what_a_diff_changes_is_there_in_full(here: Path) -> None:
    found = cured()
    best = found.diagnosis.remedies[0]
    header = '--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n'
    long = f"{header} {'c' * 99}\n-    x = y\n+    x = {' + '.join('abcdefghijklmnopqrstuvw')}\n \n"
    best = msgspec.structs.replace(best, fix=Fix(diff=long))
    text = on_terminal(here, msgspec.structs.replace(found, diagnosis=Diagnosis((), (best,))), 60)
    assert f"       {'c' * 52}…\n" in text
    assert "a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r + s + t + u + v + w" in " ".join(text.split())


def test_a_long_diff_is_cut_on_the_terminal_and_whole_in_markdown(here: Path) -> None:
    found = cured()
    best = found.diagnosis.remedies[0]
    assert best.fix is not None
    long = best.fix.diff + "".join(f" line {n}\n" for n in range(40))
    best = msgspec.structs.replace(best, fix=msgspec.structs.replace(best.fix, diff=long))
    found = msgspec.structs.replace(found, diagnosis=msgspec.structs.replace(found.diagnosis, remedies=(best,)))
    text = on_terminal(here, found)
    assert "… 33 more lines" in text and "line 39" not in text
    out = io.StringIO()
    markdown.render(build_report([manifest(here), found, closing()]), out)
    assert "line 39" in out.getvalue()


def test_a_verified_cure_that_computes_something_else_is_offered_by_name(here: Path) -> None:
    found = cured()
    unsafe = tuple(msgspec.structs.replace(one, applicability="unsafe") for one in found.diagnosis.remedies)
    found = msgspec.structs.replace(found, diagnosis=msgspec.structs.replace(found.diagnosis, remedies=unsafe))
    assert "stayfinite fix --unsafe --incident reports/x" in on_terminal(here, found, 100)


def test_only_refused_remedies_say_why_and_offer_nothing_to_apply(here: Path) -> None:
    found = cured()
    refused = tuple(one for one in found.diagnosis.remedies if one.verdict == "refused")
    found = msgspec.structs.replace(found, diagnosis=msgspec.structs.replace(found.diagnosis, remedies=refused))
    text = on_terminal(here, found, 100)
    assert "refused: the loss is finite, but samples 17 get no gradient" in " ".join(text.split())
    assert "stayfinite fix" not in text and "verified cure" not in text


def test_without_experiments_and_remedies_there_is_no_section_for_them(here: Path) -> None:
    text = on_terminal(here, log_of_zero())
    assert "  tested" not in text and "  cure" not in text


def test_what_could_not_be_performed_is_told_where_nothing_else_was(here: Path) -> None:
    found = log_of_zero()
    lack = Experiment("the inputs filled", "not performed", "", "", note="the batch has no floating-point tensor")
    first, *others = found.diagnosis.hypotheses
    first = msgspec.structs.replace(first, experiments=(lack,))
    text = on_terminal(here, msgspec.structs.replace(found, diagnosis=Diagnosis((first, *others))), 100)
    assert "not performed - - the inputs filled (the batch has no floating-point tensor)" in " ".join(text.split())


def test_markdown_holds_every_experiment_and_the_whole_of_every_remedy(here: Path) -> None:
    out = io.StringIO()
    markdown.render(build_report([manifest(here), cured(), closing()]), out)
    text = out.getvalue()
    assert "| `log-of-zero` | log at train.py:7 as log softmax | finite | +inf | +inf: softmax at train.py:5 as shifted" in text
    assert "| not performed |  |  | 0 | 0.0 | the batch has no floating-point tensor |" in text
    assert "```diff\n--- a/train.py\n" in text and "+    return -picked.mean()\n```" in text
    order = [text.index(f"**`{name}`**") for name in ("use-log-softmax", "clamp-the-argument", "lower-the-rate")]
    assert order == sorted(order)
    assert "With it the loss was not finite at step 61; without it the loss was +inf at step 57." in text


def test_json_holds_the_numbers(here: Path) -> None:
    incident = to_plain(build_report([manifest(here), cured(), closing()]))["incidents"][0]
    assert (incident["replays"], incident["tested_seconds"]) == (9, 1.8)
    assert incident["conclusion"].startswith("confirmed by experiment: log-of-zero at train.py:7; verified cure")
    best = incident["remedies"][0]
    assert best["interventions"] == ["log at train.py:7 as log softmax"]
    assert best["trial"]["losses"][0] == 2.3 and len(best["trial"]["losses"]) == 60
    assert best["effect"]["gradient"] == "finite"
    assert best["diff"].startswith("--- a/train.py")
    assert incident["causes"][0]["experiments"][1]["placebo_change"] == "softmax at train.py:5 as shifted softmax"


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (Trial("x", "finite", 60, losses=(2.0, 1.0)),
         "with it the loss went from 2 to 1 in 60 steps; without it the loss was +inf at step 57"),
        (Trial("x", "finite", 1, losses=(2.0,)), "with it it took 1 step; without it the loss was +inf at step 57"),
        (Trial("x", "finite", 60, "divergence", 58, losses=(2.0, 9.0)),
         "with it the loss went from 2 to 9 in 60 steps, with divergence at step 58; without it the loss was +inf at step 57"),
        (Trial("x", "failed", 12, "nonfinite-gradient", 11),
         "with it a gradient was not finite at step 11; without it the loss was +inf at step 57"),
        (Trial("x", "failed", 12, "numeric-exception", 11),
         "with it it raised an exception at step 11; without it the loss was +inf at step 57"),
        (Trial("x", "ended", 20, losses=(2.0, 1.0), note="the 5 s were over"),
         "with it the loss went from 2 to 1 in 20 steps, and did not come to step 57 (the 5 s were over)"),
        (Trial("x", "broken", note="NameError: y"), "with it the script breaks: NameError: y"),
        (Trial("x", "not_run", note="there is no script"), "the script was not run with it: there is no script"),
    ],
)
def test_a_trial_beside_the_run_in_a_sentence(trial: Trial, said: str) -> None:
    assert comparison(trial, log_of_zero()) == said


def test_a_run_that_raised_is_compared_by_what_it_raised() -> None:
    said = comparison(Trial("x", "finite", 9, losses=(2.0, 1.0)), raised())
    assert said.endswith("without it it raised ValueError at step 5")


def test_nothing_proved_nothing_concluded() -> None:
    assert conclusion(Diagnosis()) == ""
    assert conclusion(Diagnosis((Hypothesis("a", "A", 1.0, 0.9, "refuted"),), (Remedy("b", "B", "safe", verdict="refused"),))) == ""
    assert conclusion(Diagnosis(remedies=(Remedy("b", "Do it.", "safe", verdict="verified"),))) == "verified cure: do it"


def test_two_curves_stand_over_the_same_steps() -> None:
    assert over({0: 1.0, 1: 2.0, 2: 3.0}, 0, 2, 40) == [1.0, 2.0, 3.0]
    assert over({step: float(step) for step in range(10)}, 0, 9, 5) == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert over({0: 1.0, 5: "nan", 6: 2.0}, 0, 9, 5) == [1.0, 1.0, "nan", 2.0]
    assert over({step: float(step) for step in range(20)}, 10, 13, 40) == [10.0, 11.0, 12.0, 13.0]
    assert over({}, 0, 9, 5) == []
    assert sparkline([0.0, 1.0], "01", "x", also=[4.0]) == "00"
