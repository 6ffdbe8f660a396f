"""State that others spoil is seen at the next step, held, and told as what it is; what is meant to be infinite is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forkserver import run_cli

HEAD = """
import io
import torch
from torch import nn
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 16), nn.Linear(16, 1)
        self.register_buffer("usage", torch.ones(16))
        self.register_buffer("best", torch.tensor(float("inf")))
    def forward(self, x):
        hidden = torch.relu(self.inner(x).nan_to_num(0.0))
        {forward}
        return self.outer(hidden)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
x = torch.randn(64, 6)
y = x.sum(1, keepdim=True)
def train(first, last):
    for step in range(first, last):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after(step)
def after(step):
    {after}
{body}
"""


def reported(folder: Path, *, forward: str = "pass", after: str = "pass", body: str = "train(0, 60)") -> dict[str, Any]:
    source = HEAD.format(forward=forward, after=after, body=body)
    (folder / "train.py").write_text(source, encoding="utf-8")
    done = run_cli(["run", "--quiet", "--report", "made", "train.py"], folder, {"STAYFINITE_STRICT": "1"})
    assert done.exit_code in (0, 3), done.stderr
    made = folder / "made" / "report.json"
    return dict(json.loads(made.read_bytes())) if made.exists() else {"incidents": []}


def only(report: dict[str, Any]) -> dict[str, Any]:
    (found,) = report["incidents"]
    return dict(found)


SPOILED = "if step == 20: nn.init.constant_(model.inner.weight, float('nan'))"


def test_a_weight_that_is_written_between_steps_is_seen_at_the_next_one(tmp_path: Path) -> None:
    found = only(reported(tmp_path, after=SPOILED))
    assert (found["symptom"], found["step"], found["held"], found["reproduced"]) == ("nonfinite-parameter", 21, True, True)
    assert found["origin"]["parameter"] == "inner.weight" and found["origin"]["op"] == "parameter"
    assert "inner(x)" in found["origin"]["code"]
    assert found["causes"][0]["cause"] not in ("corrupt-checkpoint", "uninitialized-parameter")


def test_a_write_through_data_is_found_by_the_looks(tmp_path: Path) -> None:
    found = only(reported(tmp_path, after="if step == 20: model.inner.weight.data[3] = float('nan')"))
    assert (found["symptom"], found["origin"]["parameter"]) == ("nonfinite-parameter", "inner.weight")
    assert found["step"] <= 32


def test_a_habit_of_writing_through_data_is_learned(tmp_path: Path) -> None:
    after = "model.inner.weight.data.clamp_(-0.3, 0.3); model.inner.weight.data[3] /= float(step != 20)"
    assert only(reported(tmp_path, after=after))["step"] == 21


def test_a_buffer_that_forward_spoils_holds_the_step(tmp_path: Path) -> None:
    forward = "self.usage.mul_(0.9).add_(0.1 * hidden.detach().sum(0) / (hidden > 1.5).sum(0))"
    found = only(reported(tmp_path, forward=forward))
    assert (found["symptom"], found["step"], found["held"], found["reproduced"]) == ("nonfinite-buffer", 0, True, True)
    assert found["origin"]["op"] == "div" and found["origin"]["buffer"] == "usage"


def test_a_buffer_that_is_assigned_anew_is_followed(tmp_path: Path) -> None:
    found = only(reported(tmp_path, forward="self.usage = 0.9 * self.usage / (hidden.detach() > 1.5).sum(0)"))
    assert (found["symptom"], found["step"]) == ("nonfinite-buffer", 0)


def test_moments_that_others_spoil_are_seen_before_the_first_update(tmp_path: Path) -> None:
    body = """
for p in model.parameters():
    second = torch.full_like(p, 1e-3)
    second.flatten()[0] = float("inf")
    optimizer.state[p] = {"step": torch.tensor(5.0), "exp_avg": torch.zeros_like(p), "exp_avg_sq": second}
train(0, 20)
"""
    found = only(reported(tmp_path, body=body))
    assert (found["symptom"], found["step"], found["held"]) == ("frozen-moment", 0, True)
    assert found["names"][0] == "exp_avg_sq of inner.weight"
    assert found["causes"][0]["cause"] == "corrupt-optimizer-state"


def test_moments_are_looked_at_where_weights_are_put_back(tmp_path: Path) -> None:
    """The first update with them would leave weights that no look finds before the next step."""
    after = """if step == 30:
        model.load_state_dict(model.state_dict())
        optimizer.state[model.outer.weight]["exp_avg_sq"].copy_(torch.full((1, 16), float("nan")))"""
    found = only(reported(tmp_path, after=after))
    assert (found["symptom"], found["step"], found["held"]) == ("nonfinite-moment", 31, True)
    assert found["names"] == ["exp_avg_sq of outer.weight"]
    assert (found["causes"][0]["cause"], found["causes"][0]["verdict"]) == ("corrupt-optimizer-state", "confirmed")


def test_an_infinite_momentum_freezes_nothing(tmp_path: Path) -> None:
    body = """
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
for p in model.parameters():
    optimizer.state[p] = {"momentum_buffer": torch.full_like(p, float("inf"))}
train(0, 20)
"""
    found = only(reported(tmp_path, body=body))
    assert (found["symptom"], found["step"], found["held"]) == ("nonfinite-moment", 0, True)


@pytest.mark.parametrize("save", ["torch.save(model.state_dict(), io.BytesIO())", "kept = dict(model.state_dict())"])
def test_bad_state_stops_the_run_before_it_is_saved(save: str, tmp_path: Path) -> None:
    spoil = "with torch.no_grad(): model.outer.bias.sub_(1e38).mul_(1e38)"
    report = reported(tmp_path, body=f"train(0, 12)\n{spoil}\n{save}\nprint('kept')")
    found = only(report)
    assert (found["symptom"], found["step"], found["outcome"]) == ("nonfinite-parameter", 11, "stopped")
    assert save.split(" =")[0] in found["origin"]["code"]


def test_bad_state_at_the_end_of_the_script_is_told(tmp_path: Path) -> None:
    found = only(reported(tmp_path, body="train(0, 12)\nwith torch.no_grad(): model.outer.bias.log_()"))
    assert (found["symptom"], found["outcome"]) == ("nonfinite-parameter", "continued")


@pytest.mark.parametrize("forward", [
    "self.best.copy_(torch.minimum(self.best, hidden.detach().mean()))",
    "self.best.fill_(float('inf'))",
    "self.usage.fill_(0.0); self.usage[hidden.detach().sum(0) < 2] = float('-inf')",
], ids=["best so far", "reset", "mask"])
def test_infinities_that_are_meant_are_left_alone(forward: str, tmp_path: Path) -> None:
    assert reported(tmp_path, forward=forward, after="torch.save(model.state_dict(), io.BytesIO())")["incidents"] == []
