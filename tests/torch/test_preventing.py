"""Policies that change updates before anything fails: what they do to a real training, and what they leave alone."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from forkserver import run_bare, run_cli
from hypothesis import given
from hypothesis import strategies as st

from stayfinite.catalog.prevention import BY_RATE, POLICIES, Outliers, Spikes

TRAINING = """
    import hashlib
    import torch
    from torch import nn

    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.{optimizer}
    x = torch.randn(80, 24, 8)
    y = x.sum(-1, keepdim=True) + 0.1 * torch.randn(80, 24, 1)
    y[{bad}] = 4000.0
    before = None
    moved = []
    for step in range(80):
        loss = (net(x[step]) - y[step]).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        was = [p.detach().clone() for p in net.parameters()]
        optimizer.step()
        moved.append(max(float((p - q).pow(2).mean().sqrt()) for p, q in zip(net.parameters(), was)))
    print("moved", moved[{bad}], max(moved[:{bad}]))
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
"""
SGD = "SGD(net.parameters(), lr=0.02)"


def script(folder: Path, *, optimizer: str = SGD, bad: int = 50, value: str = "4000.0") -> None:
    text = textwrap.dedent(TRAINING.format(optimizer=optimizer, bad=bad)).replace("4000.0", value)
    (folder / "train.py").write_text(text, encoding="utf-8")


def run(folder: Path, *options: str) -> tuple[list[float], float, dict[str, str]]:
    """(moved in the bad step, most before), the final loss, and what was prevented."""
    done = run_cli(["run", "--quiet", "--report", "rep", *options, "train.py"], folder)
    report = json.loads((folder / "rep" / "report.json").read_text(encoding="utf-8"))
    told = {w["message"].split(":")[0].removeprefix("--prevent "): w["message"] for w in report["warnings"] if w["id"] == "prevented"}
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    return [float(n) for n in lines["moved"].split()], float(lines["final"].split()[1]), told


def test_without_a_policy_one_bad_target_throws_the_weights_away(tmp_path: Path) -> None:
    script(tmp_path)
    (bad, usual), _, told = run(tmp_path)
    assert bad > 50 * usual and not told


def test_a_gradient_far_out_is_clipped_to_what_is_usual(tmp_path: Path) -> None:
    script(tmp_path)
    (bad, usual), final, told = run(tmp_path, "--prevent", "clip-outliers")
    assert bad < 1.5 * usual and final < 10.0
    assert "1 of 80 were, first at step 50" in told["clip-outliers"]


def test_an_update_of_a_spike_is_left_out(tmp_path: Path) -> None:
    script(tmp_path)
    (bad, _), final, told = run(tmp_path, "--prevent", "skip-spikes")
    assert bad == 0.0 and final < 10.0
    assert "1 of 80 were, first at step 50" in told["skip-spikes"]


def test_gradients_are_clipped_by_the_size_of_their_parameter(tmp_path: Path) -> None:
    script(tmp_path)
    (bad, _), _, told = run(tmp_path, "--prevent", "clip-by-weight")
    assert bad < 0.02 * 0.01 and "80 of 80" in told["clip-by-weight"]  # rate times share, in the root mean square of a tensor


@pytest.mark.parametrize("optimizer", [SGD, "AdamW(net.parameters(), lr=0.02)", "RMSprop(net.parameters(), lr=0.02)"])
def test_updates_are_no_larger_than_the_rate(tmp_path: Path, optimizer: str) -> None:
    script(tmp_path, optimizer=optimizer)
    (bad, usual), _, _ = run(tmp_path, "--prevent", "clip-update")
    assert max(bad, usual) <= 0.02 * BY_RATE * (1 + 1e-4)


def test_what_is_nan_is_held_and_not_prevented(tmp_path: Path) -> None:
    script(tmp_path, value="float('nan')")
    done = run_cli(["run", "--report", "rep", "--prevent", "clip-outliers", "--prevent", "skip-spikes", "train.py"], tmp_path)
    assert done.exit_code == 3
    incident = json.loads((tmp_path / "rep" / "report.json").read_text(encoding="utf-8"))["incidents"][0]
    assert incident["reproduced"] and incident["held"] and incident["step"] == 50


def test_repeated_steps_take_the_decisions_of_the_run(tmp_path: Path) -> None:
    """Each healthy step is repeated twice: with the same bits, and without a decision more."""
    script(tmp_path, optimizer="AdamW(net.parameters(), lr=0.02)")
    plain = run(tmp_path, *(part for name in ("clip-outliers", "skip-spikes") for part in ("--prevent", name)))
    log = tmp_path / "log.jsonl"
    more = {"STAYFINITE_REPLAY_EVERY": "1", "STAYFINITE_REPLAY_LOG": str(log)}
    done = run_cli(["run", "--quiet", "--report", "again", "--prevent", "clip-outliers", "--prevent", "skip-spikes", "train.py"],
                   tmp_path, more)
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert float(lines["final"].split()[1]) == plain[1]
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["steps"] == 80


def test_a_quiet_training_is_left_as_it_is(tmp_path: Path) -> None:
    script(tmp_path, value="0.0")
    bare = run_bare(["train.py"], tmp_path).stdout
    done = run_cli(["run", "--quiet", "--prevent", "skip-spikes", "train.py"], tmp_path)
    assert done.stdout == bare


@pytest.mark.parametrize("command", [["run", "--prevent", "clip-everything", "train.py"]])
def test_an_unknown_policy_is_refused(tmp_path: Path, command: list[str]) -> None:
    script(tmp_path)
    done = run_cli(command, tmp_path)
    assert done.exit_code == 2 and all(name in " ".join(done.stderr.split()) for name in ("clip-everything", *POLICIES))


def test_watch_takes_policies_too(tmp_path: Path) -> None:
    script(tmp_path)
    text = (tmp_path / "train.py").read_text(encoding="utf-8")
    text = text.replace("for step in", "import stayfinite\nguard = stayfinite.watch(prevent='clip-outliers', quiet=True)\nfor step in")
    (tmp_path / "watched.py").write_text(text + "print([w.message for w in guard.close().warnings])\n", encoding="utf-8")
    done = run_bare(["watched.py"], tmp_path)
    assert "1 of 80 were, first at step 50" in done.stdout, done.stderr
    (tmp_path / "wrong.py").write_text("import stayfinite\nstayfinite.watch(prevent=['x'])\n", encoding="utf-8")
    wrong = run_bare(["wrong.py"], tmp_path)
    assert "UsageError: prevent: x: no such policy" in wrong.stderr


NORMS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=80)


@given(NORMS, st.floats(0, 1e30) | st.just(float("inf")) | st.just(float("nan")))
def test_a_limit_lies_between_the_mean_and_the_norm(norms: list[float], last: float) -> None:
    policy = Outliers()
    for norm in norms:
        policy.limit(norm)
    limit = policy.limit(last)
    assert limit is None or 0.0 < limit < last


@given(st.lists(st.floats(-1e6, 1e6), max_size=200))
def test_no_more_than_a_few_are_left_out_in_a_row(losses: list[float]) -> None:
    policy = Spikes()
    row = 0
    for loss in losses:
        row = row + 1 if policy.skips(loss) else 0
        assert row <= Spikes.IN_A_ROW
