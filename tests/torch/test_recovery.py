"""`--on-incident recover`, on real trainings: what is left out, mended and rewound, and where it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from forkserver import Completed, run_bare, run_cli
from sameness import write_job

from stayfinite.frameworks.torch.recovery import Recovery, _Applied

HEAD = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(320, 4)
y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
"""
TAIL = """
print("final loss", loss.item())
print("finite", all(bool(torch.isfinite(p).all()) for p in model.parameters()))
"""


def recovered(folder: Path, script: str, *, trials: bool = False, **modules: str) -> tuple[Completed, dict[str, Any]]:
    write_job(folder, {"train.py": HEAD + script + TAIL, **{f"{name}.py": text for name, text in modules.items()}})
    environment = {"STAYFINITE_STRICT": "1", "STAYFINITE_NO_TRIALS": "0" if trials else "1"}
    done = run_cli(["run", "--on-incident", "recover", "--report", "kept", "train.py"], folder, environment, timeout=150.0)
    return done, json.loads((folder / "kept" / "report.json").read_text(encoding="utf-8"))


def final(done: Completed) -> float:
    assert "finite True" in done.stdout
    return float(re.findall(r"final loss (\S+)", done.stdout)[-1])


RATE = """
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr={rate})
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 40, gamma=0.9)
seen = []
for step in range(200):
    rows = torch.randint(0, 320, (32,))
    loss = (model(x[rows]) - y[rows]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    seen.append(optimizer.param_groups[0]["lr"])
print("rates", seen[0], seen[-1])
"""


def test_a_rate_that_is_too_high_is_lowered_where_the_script_does_not_see_it(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, RATE.format(rate=1.3))
    assert done.exit_code == 0 and final(done) < 1e-3
    assert float(re.findall(r"rates 1.3 (\S+)", done.stdout)[0]) == pytest.approx(1.3 * 0.9**5)
    assert report["status"] == "recovered"
    assert report["recovery"]["rewound"] >= 1 and report["recovery"]["rate"] <= 0.5
    rewound = next(one for one in report["recovery"]["measures"] if one["kind"] == "rewound")
    assert f"back to the state before step {rewound['back_to']}" in done.stderr
    assert {one["outcome"] for one in report["incidents"]} <= {"skipped", "recovered"}


DIRTY = """
x[37] = float("nan")
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
for epoch in range(20):
    for rows in torch.randperm(320).split(32):
        loss = (model(x[rows]) - y[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def test_the_gaps_of_one_dirty_sample_are_filled_and_no_update_is_lost(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, DIRTY)
    assert done.exit_code == 0 and final(done) < 0.5
    recovery = report["recovery"]
    assert (report["status"], recovery["left_out"], recovery["rewound"], recovery["remedied"]) == ("recovered", 0, 0, 1)
    assert recovery["measures"][0]["told"].endswith("`x` filled: the step that failed passes with it; the step is taken after all")


SCALED = """
SCALE, MICRO = 4096.0, 4
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
for number in range(800):
    rows = torch.arange(8) + 8 * (number % 40)
    loss = (model(x[rows]) - y[rows]).square().mean()
    (loss * SCALE / MICRO).backward()
    if number % MICRO == MICRO - 1:
        optimizer.step()
        optimizer.zero_grad()
"""


def test_a_scale_by_hand_is_taken_off_and_no_gradient_of_the_bad_steps_is_left(tmp_path: Path) -> None:
    """They are cleared after an update, which the step that was left out never came to."""
    done, report = recovered(tmp_path, SCALED)
    assert done.exit_code == 0 and final(done) < 1.0
    assert report["recovery"]["remedied"] == 1 and "a loss scale of 1" in done.stderr and "withdrawn" not in done.stderr


CLIPPED = """
y[37] = float("inf")
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(60):
    rows = torch.arange(32) + 32 * (step % 10)
    loss = (model(x[rows]) - y[rows]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
"""


def test_what_a_step_clipped_that_was_left_out_says_nothing_of_the_next(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, CLIPPED)
    assert done.exit_code == 0 and final(done) < 0.1
    assert [one["step"] for one in report["recovery"]["measures"] if one["kind"] == "left-out"] == [1, 11, 21, 31, 41, 51]


def test_a_dirty_target_costs_its_batch_in_each_epoch_and_nothing_is_made_up_for_it(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, DIRTY.replace("x[37] =", "y[37] ="))
    recovery = report["recovery"]
    assert done.exit_code == 0 and "finite True" in done.stdout
    assert (report["status"], recovery["left_out"], recovery["rewound"], recovery["remedied"]) == ("recovered", 20, 0, 0)
    assert recovery["told"] == "20 updates left out"


BY_HAND = """
labels = (y > 0).long().squeeze(1)
model = nn.Linear(4, 2)
seen = []
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for step in range(60):
    probability = torch.softmax(300.0 * model(x), 1)
    loss = -probability.gather(1, labels[:, None]).log().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    seen.append(loss.item())
print("steps", len(seen), all(value == value for value in seen))
"""


def test_a_run_whose_every_step_fails_goes_on_with_the_change_that_lets_it_pass(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, BY_HAND)
    recovery = report["recovery"]
    assert done.exit_code == 0 and "steps 60 True" in done.stdout  # nor is a step lost
    assert (report["status"], recovery["left_out"], recovery["rewound"]) == ("recovered", 0, 0)
    assert 1 <= recovery["remedied"] <= 2 and recovery["measures"][-1]["kind"] == "overcome"
    assert all("the step is taken after all" in one["told"] for one in recovery["measures"] if one["kind"] == "remedied")


ADDED_UP = """
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
for step in range(400):
    rows = torch.randint(0, 320, (32,))
    loss = (model(x[rows]) - y[rows]).square().mean()
    loss.backward()
    optimizer.step()
"""


def test_gradients_that_add_up_are_cleared_from_an_earlier_state_on(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, ADDED_UP)
    assert done.exit_code == 0 and final(done) < 1e-3
    told = [one["told"] for one in report["recovery"]["measures"] if one["kind"] == "remedied"]
    assert any("gradients zeroed" in one and "back to the state before step" in one for one in told), told


POISONED = """
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
for step in range(200):
    rows = torch.randint(0, 320, (32,))
    loss = (model(x[rows]) - y[rows]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step == 60:
        {poison}
"""


@pytest.mark.parametrize(
    ("poison", "told"),
    [
        ("model[0].weight.data[2, 1] = float('nan')", r"parameter .*weight as before step \d+"),
        ("optimizer.state[model[0].weight]['exp_avg'][3, 2] = float('nan')", "the moments of 1 elements set to 0"),
    ],
)
def test_a_poisoned_state_is_mended(poison: str, told: str, tmp_path: Path) -> None:
    done, report = recovered(tmp_path, POISONED.format(poison=poison))
    assert done.exit_code == 0 and final(done) < 0.5
    assert report["recovery"]["mended"] == 1
    assert re.search(told, report["recovery"]["measures"][0]["told"])


SAVED = """
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(40):
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.weight.data[0, 2] = float("inf")
torch.save(model.state_dict(), "model.pt")
print("saved", bool(torch.isfinite(torch.load("model.pt")["weight"]).all()))
"""


def test_bad_state_does_not_come_over_a_good_file(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, SAVED)
    assert (done.exit_code, "saved True" in done.stdout, report["status"]) == (0, True, "recovered")
    assert "about to be saved, the state is not finite: parameter weight as before step" in done.stderr


HOPELESS = """
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(100):
    loss = (model(x) - y).square().mean() * float("nan")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_a_step_that_never_succeeds_ends_in_an_honest_stop(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, HOPELESS)
    assert done.exit_code == 3
    assert (report["status"], report["incidents"][0]["outcome"], report["run"]["exit_code"]) == ("incident", "stopped", 3)
    last = report["recovery"]["measures"][-1]
    assert last["kind"] == "gave-up" and "updates left out" in last["told"]
    assert last["told"] in done.stderr


LABELS = """
labels = (y > 0).long().squeeze(1)
labels[100] = 7
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(4):
    for start in range(0, 320, 32):
        loss = nn.functional.cross_entropy(model(x[start:start + 32]), labels[start:start + 32])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def test_an_exception_that_numbers_explain_is_left_out_like_any_other_bad_step(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, LABELS)
    assert done.exit_code == 0 and final(done) < 0.6
    assert (report["status"], report["recovery"]["left_out"]) == ("recovered", 4)


def test_a_healthy_run_is_what_it_is_without_us(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": HEAD + RATE.format(rate=0.05) + TAIL})
    bare = run_bare(["train.py"], tmp_path)
    done = run_cli(["run", "--on-incident", "recover", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert (done.exit_code, done.stdout, done.stderr) == (0, bare.stdout, "")


ALONE = """
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
model[0], model[2] = nn.Linear(4, 8), nn.Linear(8, 1)
for step in range(600):
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_a_failure_whose_numbers_stay_finite_is_recovered_from_as_well(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, ALONE)
    assert final(done) < 1.0 and report["status"] == "recovered"
    told = [one["told"] for one in report["recovery"]["measures"] if one["kind"] == "remedied"]
    assert len(told) == 1 and "adopted" in told[0]


def test_what_made_healthy_steps_bad_is_withdrawn_and_with_a_rewind_all_that_is_unsure() -> None:
    closed: list[str] = []

    class Change:
        def __init__(self, name: str) -> None:
            self.close = lambda: closed.append(name)

    def applied(name: str, incident: str, **known: bool) -> _Applied:
        return _Applied(name, incident, Change(name), **known)  # type: ignore[arg-type]

    recovery = Recovery.__new__(Recovery)
    recovery._applied = [applied("kept", "1", finite=True), applied("proven", "1", finite=True, sure=True), applied("other", "2")]
    assert recovery._withdraw("9") == "it came back with kept, which is withdrawn; " and closed == ["kept"]
    assert recovery._withdraw("9") == "" and recovery._withdraw("").startswith("it came back with other") and closed == ["kept", "other"]
    assert [one.told for one in recovery._applied] == ["proven"]


NETWORK = """
import logging
from torch import nn

logging.getLogger("network").addHandler(logging.StreamHandler())
made = []

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        made.append(self)
        self.enter, self.again, self.leave = nn.Linear(4, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, 1)
        nn.init.orthogonal_(self.again.weight, gain=1.5)

    def forward(self, x):
        h = self.enter(x)
        for _ in range(30):
            h = self.again(h).relu()
        return self.leave(h)
"""
EXPLODING = """
import os, random, sys
import network
print("made", len(network.made), os.environ.get("SEEN"), os.path.basename(os.getcwd()), random.random(), len(sys.argv))
os.environ["SEEN"] = "1"
os.makedirs("elsewhere", exist_ok=True)
os.chdir("elsewhere")
torch.set_default_dtype(torch.float64)
torch.set_default_dtype(torch.float32)
torch.use_deterministic_algorithms(True)
model = network.Recurrent()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for step in range(120):
    rows = torch.randint(0, 320, (32,))
    loss = (model(x[rows]) - y[rows]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_an_early_failure_begins_the_script_again_with_its_verified_cure_as_if_it_had_been_written_so(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, EXPLODING, trials=True, network=NETWORK)
    assert done.exit_code == 0 and report["status"] == "recovered"
    assert [one["kind"] for one in report["recovery"]["measures"]] == ["begun-again"]
    assert report["recovery"]["told"] == "1 time begun again with a cure" and report["recovery"]["begun_again"] == 1
    first, second = re.findall(r"made .*", done.stdout)
    assert first.startswith("made 0 None") and first == second  # nothing of the first time is left in this process
    written = (tmp_path / "train.py").read_text(encoding="utf-8")
    assert written == HEAD + EXPLODING + TAIL  # files stay as they are
    run_cli(["fix", "--unsafe", "--incident", "kept"], tmp_path)
    assert "clip_grad_norm_" in (tmp_path / "train.py").read_text(encoding="utf-8")
    by_hand = run_bare(["train.py"], tmp_path)
    assert final(done) == final(by_hand)  # bit for bit what the patch gives


def test_what_a_script_that_begins_again_registered_for_the_exit_finds_its_names(tmp_path: Path) -> None:
    leaving = "\nimport atexit\nword = 'bye'\natexit.register(lambda: print(word))\n"
    done, report = recovered(tmp_path, leaving + EXPLODING, trials=True, network=NETWORK)
    assert done.exit_code == 0 and report["recovery"]["begun_again"] == 1
    assert done.stdout.count("bye") == 2 and "NameError" not in done.stderr  # both times were to call it


def test_where_a_script_must_not_run_again_it_goes_on_as_well_as_it_can(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, EXPLODING, network=NETWORK)
    assert done.exit_code == 0 and report["recovery"]["begun_again"] == 0 and len(re.findall(r"made .*", done.stdout)) == 1


GUARDED = """
import math
x[70, 2] = float("nan")
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
skipped = 0
for epoch in range(4):
    for start in range(0, 320, 32):
        loss = (model(x[start:start + 32]) - y[start:start + 32]).square().mean()
        if not math.isfinite(loss.item()):
            skipped += 1
            continue
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print("skipped", skipped)
"""


def test_a_batch_that_the_script_itself_leaves_out_is_recovered_from_like_any_other(tmp_path: Path) -> None:
    done, report = recovered(tmp_path, GUARDED, trials=True)
    assert done.exit_code == 0 and "skipped 0" in done.stdout and report["status"] == "recovered"
    assert report["recovery"]["told"] == "1 time begun again with a cure"
