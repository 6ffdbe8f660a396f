"""Who made bad state: the file it came from, the constructor that left it, the formula of a rate; and evaluation alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from forkserver import run_cli
from torch import nn

from stayfinite.frameworks.torch.births.loads import Loads
from stayfinite.records.location import UNKNOWN_LOCATION

TRAIN = """
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
{schedule}
x = torch.randn(64, 6)
y = x.sum(1, keepdim=True)
for step in range(40):
    {before}
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    {after}
"""


def incident(folder: Path, setup: str, *, schedule: str = "", before: str = "pass", after: str = "pass") -> dict[str, Any]:
    source = "import torch\nfrom torch import nn\ntorch.manual_seed(0)\n" + setup
    source += TRAIN.format(schedule=schedule, before=before, after=after)
    (folder / "train.py").write_text(source, encoding="utf-8")
    done = run_cli(["run", "--quiet", "--report", "made", "train.py"], folder, {"STAYFINITE_STRICT": "1"})
    assert done.exit_code in (0, 3), done.stderr
    (found,) = json.loads((folder / "made" / "report.json").read_bytes())["incidents"]
    return dict(found)


MODEL = "model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))\n"


@pytest.mark.parametrize("given", ["state", "{name: value.clone() for name, value in state.items()}"], ids=["same", "copied"])
def test_the_file_a_weight_came_from(given: str, tmp_path: Path) -> None:
    setup = f"""{MODEL}
state = model.state_dict()
state["2.weight"] = state["2.weight"] / 0.0
torch.save(state, "best.pt")
def restore(file):
    state = torch.load(file)
    model.load_state_dict({given})
restore("best.pt")
"""
    first = incident(tmp_path, setup)["causes"][0]
    assert first["cause"] == "corrupt-checkpoint"
    assert first["location"]["code"] == "state = torch.load(file)"
    assert any("`2.weight` in `best.pt`" in one["claim"] for one in first["evidence"])


CLASS = """
torch.use_deterministic_algorithms(True)
class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        {made}
    def forward(self, x):
        return x * self.gain
model = nn.Sequential(nn.Linear(6, 16), Scale(16), nn.Linear(16, 1))
"""


@pytest.mark.parametrize("made", [
    "self.gain = nn.Parameter(torch.empty(width))",
    "self.gain = nn.Parameter(torch.Tensor(width).fill_(float('nan')))",
    "self.register_parameter('gain', nn.Parameter(torch.zeros(2, 2).new_empty(width)))",
], ids=["empty", "sized", "registered"])
def test_the_constructor_that_left_memory_as_it_was(made: str, tmp_path: Path) -> None:
    first = incident(tmp_path, CLASS.format(made=made))["causes"][0]
    assert (first["cause"], first["location"]["code"]) == ("uninitialized-parameter", made)


RATES = {
    "a lambda": (
        "schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, formula)", "pass", "schedule.step()",
        "return float(left / left) ** 0.5",
    ),
    "by hand": ("", "for group in optimizer.param_groups: group['lr'] = 0.01 * formula(step)", "pass", "return float(left / left) ** 0.5"),
}


@pytest.mark.parametrize("way", RATES)
def test_the_line_that_made_a_rate(way: str, tmp_path: Path) -> None:
    schedule, before, after, _ = RATES[way]
    setup = f"""{MODEL}
import numpy as np
def formula(step):
    left = np.float64(10 - step)
    share = left / abs(left)
    return float(share)
"""
    found = incident(tmp_path, setup, schedule=schedule, before=before, after=after)
    first = found["causes"][0]
    assert (found["symptom"], first["cause"]) == ("nonfinite-learning-rate", "invalid-learning-rate-schedule")
    assert first["location"]["code"] == "share = left / abs(left)"


def test_a_formula_that_counts_its_calls_is_not_called_again(tmp_path: Path) -> None:
    setup = f"""{MODEL}
calls = 0
def formula(step):
    global calls
    calls += 1
    return 0.01 if step < 10 else float("nan")
"""
    found = incident(
        tmp_path, setup, before="optimizer.param_groups[0]['lr'] = formula(step)", after="assert calls == step + 1",
    )
    assert (found["symptom"], found["step"]) == ("nonfinite-learning-rate", 10)


EVALUATION = """
class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("spread", torch.ones(16))
    def fit(self, x):
        self.spread.copy_(x.var(0))
    def forward(self, x):
        return x if self.training else x / self.spread
model = nn.Sequential(nn.Linear(6, 16), Norm(), nn.Dropout(0.1), nn.Linear(16, 1))
with torch.no_grad():
    model[1].fit(model[0](torch.randn({rows}, 6)))
def check():
    model.eval()
    with {context}:
        found = model(x)
    model.train()
    return found.mean()
"""


@pytest.mark.parametrize("context", ["torch.no_grad()", "torch.inference_mode()", "torch.enable_grad()"])
def test_nan_in_evaluation_alone(context: str, tmp_path: Path) -> None:
    found = incident(tmp_path, EVALUATION.format(rows=1, context=context), after="step % 10 or print(check().item())")
    assert (found["symptom"], found["outcome"], found["harmless"]) == ("nonfinite-evaluation", "continued", True)
    assert found["origin"]["buffer"] == "1.spread"
    assert found["causes"][0]["cause"] == "corrupt-buffer"
    assert found["causes"][0]["location"]["code"] == "self.spread.copy_(x.var(0))"


def test_a_sound_evaluation_says_nothing_and_changes_nothing(tmp_path: Path) -> None:
    setup = EVALUATION.format(rows=50, context="torch.no_grad()")
    source = "import torch\nfrom torch import nn\ntorch.manual_seed(0)\n" + setup
    source += TRAIN.format(schedule="", before="pass", after="step % 10 or print(check().item())")
    source += "print([p.double().sum().item() for p in model.parameters()], torch.rand(1).item())\n"
    (tmp_path / "train.py").write_text(source, encoding="utf-8")
    watched = run_cli(["run", "--quiet", "--report", "made", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    bare = run_cli(["run", "--quiet", "--no-rewrite", "--report", "other", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert watched.exit_code == 0 and watched.stdout == bare.stdout
    assert json.loads((tmp_path / "made" / "report.json").read_bytes())["incidents"] == []


def test_whether_everything_that_was_loaded_was_finite_is_known(tmp_path: Path) -> None:
    loads, model = Loads(lambda: UNKNOWN_LOCATION), nn.Linear(2, 2)
    assert loads.finite is None
    loads._read({"epoch": 3}, "notes.pt")
    assert loads.finite is None
    loads._read(model.state_dict(), "good.pt")
    loads._given(model, model.state_dict())
    assert loads.finite is True
    loads._read({"model": {"weight": torch.tensor([1.0, float("nan")])}}, "bad.pt")
    loads._given(model, model.state_dict())
    assert loads.finite is False
