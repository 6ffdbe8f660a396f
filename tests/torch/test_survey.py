"""Failures whose numbers stay finite: what a real training looks like in a survey, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from forkserver import run_bare, run_cli

DATA = """
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0)
x = torch.randn(256, 12)
y = (x[:, 0] * 2 + x[:, 1] > 0).long() + (x[:, 2] > 1).long()
"""

DEAD_HEAD = """
net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3), nn.ReLU())
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(90):
    rows = torch.randint(0, 256, (32,))
    if step == 20:
        with torch.no_grad():
            net[2].bias -= 80.0
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
print("weights", sum(p.double().sum().item() for p in net.parameters()))
"""

CLIPPED_AWAY = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(12, 32), nn.Linear(32, 3)
    def forward(self, rows):
        return self.b(torch.relu(self.a(rows)))
net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0)
def train(rows):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x[rows]), y[rows])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=0)
    optimizer.step()
for step in range(60):
    train(torch.randint(0, 256, (32,)))
print("weights", sum(p.double().sum().item() for p in net.parameters()))
"""

ZERO_VECTOR = """
embed = nn.Embedding(50, 8)
head = nn.Linear(8, 3)
parameters = [*embed.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(parameters, lr=0.01)
for step in range(60):
    tokens = torch.randint(0, 50, (32,))
    if step == 40:
        with torch.no_grad():
            embed.weight[tokens[7]] = 0.0
    target = (tokens % 3)
    loss = F.cross_entropy(head(F.normalize(embed(tokens), dim=1)), target)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
print("weights", sum(p.double().sum().item() for p in parameters))
"""

CONSTANT_OUTPUT = """
net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1), nn.Softmax(dim=1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
target = (y > 0).float()[:, None]
for step in range(80):
    rows = torch.randint(0, 256, (64,))
    optimizer.zero_grad()
    loss = F.mse_loss(net(x[rows]), target[rows])
    loss.backward()
    optimizer.step()
print("weights", sum(p.double().sum().item() for p in net.parameters()))
"""

CUT_OFF = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(12, 32), nn.Linear(32, 3)
    def forward(self, rows):
        h = torch.relu(self.body(rows))
        return self.head(h)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(80):
    rows = torch.randint(0, 256, (64,))
    optimizer.zero_grad()
    scores = torch.tensor(net(x[rows]).tolist(), requires_grad=True)
    loss = F.cross_entropy(scores, y[rows])
    loss.backward()
    optimizer.step()
print("weights", sum(p.double().sum().item() for p in net.parameters()))
"""


def _run(text: str, folder: Path, *options: str, env: dict[str, str] | None = None) -> tuple[Any, dict[str, Any]]:
    (folder / "train.py").write_text(DATA + text)
    done = run_cli(["run", "--json", "report.json", *options, "train.py"], folder, {"STAYFINITE_STRICT": "1", **(env or {})})
    return done, json.loads((folder / "report.json").read_text())


def _line(text: str, part: str) -> int:
    return next(n for n, line in enumerate((DATA + text).splitlines(), 1) if part in line)


def test_a_gradient_that_died_is_told_with_the_operation_it_ends_at(tmp_path: Path) -> None:
    done, report = _run(DEAD_HEAD, tmp_path)
    assert done.exit_code == 0, done.stderr
    assert report["status"] == "incident"
    [incident] = report["incidents"]
    assert (incident["symptom"], incident["step"], incident["stopped"], incident["held"]) == ("dead-gradient", 22, False, False)
    origin = incident["origin"]
    assert (origin["op"], origin["phase"], origin["module"]) == ("relu", "backward", "3")
    assert origin["line"] == _line(DEAD_HEAD, "F.cross_entropy")
    assert incident["causes"]


def test_the_run_stops_there_if_asked(tmp_path: Path) -> None:
    done, report = _run(DEAD_HEAD, tmp_path, "--stop-on", "dead-gradient")
    assert done.exit_code == 3
    [incident] = report["incidents"]
    assert incident["stopped"] and incident["symptom"] == "dead-gradient"


def test_clipping_to_nothing_is_a_stall(tmp_path: Path) -> None:
    done, report = _run(CLIPPED_AWAY, tmp_path)
    assert done.exit_code == 0, done.stderr
    [incident] = report["incidents"]
    assert incident["symptom"] == "stalled-update"


def test_the_slope_of_a_normalised_zero_vector_is_found_in_its_own_step(tmp_path: Path) -> None:
    done, report = _run(ZERO_VECTOR, tmp_path)
    assert done.exit_code == 0, done.stderr
    [incident] = report["incidents"]
    assert (incident["symptom"], incident["step"]) == ("gradient-explosion", 40)
    assert incident["origin"]["line"] == _line(ZERO_VECTOR, "F.normalize")
    assert incident["origin"]["samples"] == [7]


def test_an_output_that_is_constant_never_learns(tmp_path: Path) -> None:
    done, report = _run(CONSTANT_OUTPUT, tmp_path)
    assert done.exit_code == 0, done.stderr
    [incident] = report["incidents"]
    assert incident["origin"]["line"] in (_line(CONSTANT_OUTPUT, "mse_loss"), _line(CONSTANT_OUTPUT, "Softmax"))


@pytest.mark.parametrize("text", [DEAD_HEAD, CLIPPED_AWAY, ZERO_VECTOR, CONSTANT_OUTPUT], ids=["dead", "clipped", "zero", "constant"])
def test_surveys_change_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(DATA + text)
    bare = run_bare(["train.py"], tmp_path, {})
    log = tmp_path / "log.jsonl"
    forced = {"STAYFINITE_SURVEY_EVERY": "3", "STAYFINITE_REPLAY_LOG": str(log)}
    done, _ = _run(text, tmp_path, env=forced)
    assert done.stdout == bare.stdout and "weights" in bare.stdout
    [line] = [json.loads(one) for one in log.read_text().splitlines()]
    assert line["surveyed"] >= 15
    assert [note for note in line["survey_notes"] if note["wrong"] or note["refused"]] == []


def test_a_survey_that_restored_too_little_would_be_seen(tmp_path: Path) -> None:
    """The comparison can fail: a script whose weights differ prints another number."""
    for seed in ("0", "1"):
        (tmp_path / f"train{seed}.py").write_text((DATA + DEAD_HEAD).replace("manual_seed(0)", f"manual_seed({seed})"))
    first, second = (run_bare([f"train{seed}.py"], tmp_path, {}) for seed in ("0", "1"))
    assert first.stdout != second.stdout


CLEARED = """
net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(40):
    rows = torch.randint(0, 256, (32,))
    loss = F.cross_entropy(net(x[rows]), y[rows])
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
"""

HIDDEN_IN_DATA = """
net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(90):
    rows = torch.randint(0, 256, (1,))
    scaled = torch.nan_to_num((x[rows] - x[rows].mean(0)) / x[rows].std(0))
    loss = F.cross_entropy(net(scaled), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

SECOND_OPTIMIZER = """
net, other = nn.Linear(12, 3), nn.Linear(12, 3)
def fit(model, optimizer, steps):
    for step in range(steps):
        rows = torch.randint(0, 256, (64,))
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
fit(net, torch.optim.SGD(net.parameters(), lr=0.5), 80)
fit(other, torch.optim.SGD(net.parameters(), lr=0.5), 60)
"""

ANOTHER_TASK = SECOND_OPTIMIZER.replace(
    "fit(other, torch.optim.SGD(net.parameters(), lr=0.5), 60)",
    "y = (y + 1) % 3; net.weight.data *= 20.0\nfit(net, torch.optim.SGD(net.parameters(), lr=0.01), 30)",
)


def test_gradients_that_were_cleared_before_the_update(tmp_path: Path) -> None:
    done, report = _run(CLEARED, tmp_path)
    assert done.exit_code == 0, done.stderr
    first = report["incidents"][0]
    assert first["symptom"] == "dead-gradient" and first["causes"][0]["cause"] == "frozen-parameters"
    assert first["causes"][0]["location"]["line"] == _line(CLEARED, "zero_grad")


def test_a_guard_in_the_data_is_seen_though_no_gradient_asks_for_it(tmp_path: Path) -> None:
    done, report = _run(HIDDEN_IN_DATA, tmp_path)
    assert done.exit_code == 0, done.stderr
    first = report["incidents"][0]
    assert (first["origin"]["op"], first["origin"]["phase"]) == ("nan_to_num", "forward")
    assert first["origin"]["line"] == _line(HIDDEN_IN_DATA, "nan_to_num")
    assert first["causes"][0]["cause"] == "masked-failure"


def test_a_later_optimizer_without_a_gradient_is_seen(tmp_path: Path) -> None:
    done, report = _run(SECOND_OPTIMIZER, tmp_path)
    assert done.exit_code == 0, done.stderr
    first = report["incidents"][0]
    assert (first["symptom"], first["causes"][0]["cause"]) == ("dead-gradient", "frozen-parameters")
    assert first["causes"][0]["location"]["line"] == _line(SECOND_OPTIMIZER, "fit(other")


def test_a_second_training_is_not_measured_by_the_first(tmp_path: Path) -> None:
    done, report = _run(ANOTHER_TASK, tmp_path)
    assert done.exit_code == 0, done.stderr
    assert [one["symptom"] for one in report["incidents"]] == []


def test_a_change_is_measured_from_where_the_step_begins_and_not_from_where_the_surveyor_was_made() -> None:
    """Between the two the state is put back: repetitions of one step follow each other."""
    from stayfinite.frameworks.torch.tracing.survey import Surveyor

    weight = torch.nn.Parameter(torch.ones(3))
    surveyor = Surveyor("survey", [weight], {id(weight): "weight"}, frozenset({id(weight)}))
    with torch.no_grad():
        weight.fill_(7.0)
    tracer_flow: Any = type("Flow", (), {"key": staticmethod(lambda part: part.data_ptr())})()
    surveyor.attach(tracer_flow)
    assert torch.equal(surveyor._before[0], torch.full((3,), 7.0))
