"""Several optimizers and losses in one pass: which update a number belongs to, and whose curve is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from forkserver import run_cli

GAN = """
import torch
from torch import nn

torch.manual_seed(3)
maker = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
judge = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
first = torch.optim.Adam(judge.parameters(), lr=2e-3)
second = torch.optim.SGD(maker.parameters(), lr=1e-2)
for step in range(40):
    real = torch.randn(32, 2) * 0.3 + 2
    fake = maker(torch.randn(32, 8))
    judged = nn.functional.softplus(-judge(real)).mean() + nn.functional.softplus(judge(fake.detach())).mean()
    first.zero_grad()
    judged.backward()
    first.step()
    made = nn.functional.softplus(-judge(fake)).mean() / (0.0 if step == 17 else 1.0)
    second.zero_grad()
    made.backward()
    second.step()
"""
CLOSURE = """
import torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
x = torch.rand(40, 3)
for step in range(10):
    def closure():
        optimizer.zero_grad()
        loss = (net(x) - x.sum(1, keepdim=True)).pow(2).mean()
        if step == 6:
            loss = loss.sub(loss).log()
        loss.backward()
        return loss
    optimizer.step(closure)
"""


def incident(tmp_path: Path, source: str) -> dict[str, Any]:
    (tmp_path / "train.py").write_text(source, encoding="utf-8")
    done = run_cli(["run", "--quiet", "--report", "made", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert done.exit_code == 3, done.stderr
    (found,) = json.loads((tmp_path / "made" / "report.json").read_bytes())["incidents"]
    return dict(found)


def steps(found: dict[str, Any]) -> dict[str, list[int]]:
    return {window["series"]: window["steps"] for window in found["windows"]}


def test_optimizers_that_take_turns_share_a_number(tmp_path: Path) -> None:
    found = incident(tmp_path, GAN)
    assert (found["step"], found["series"]) == (17, "loss[1]")
    read = steps(found)
    assert set(read) >= {"loss", "loss[1]", "gradient_norm", "gradient_norm[1]", "learning_rate", "learning_rate[1]"}
    assert read["loss"] == read["loss[1]"] == list(range(18))
    assert read["gradient_norm"] == read["gradient_norm[1]"] == list(range(18))


def test_the_evidence_is_of_the_loss_that_failed(tmp_path: Path) -> None:
    found = incident(tmp_path, GAN)
    (own,) = [window for window in found["windows"] if window["series"] == "loss[1]"]
    calm = [item["claim"] for item in found["causes"][0]["evidence"] if item["claim"].startswith("the loss was calm")]
    assert calm == [f"the loss was calm before ({float(own['values'][-2]):.4g} at the end)"]


def test_the_losses_of_a_closure_share_a_number(tmp_path: Path) -> None:
    found = incident(tmp_path, CLOSURE)
    read = steps(found)
    assert found["step"] == 6
    assert read["loss"] == list(range(7)) and read["loss[1]"][-1] <= 6


EPOCHS = """
import torch

torch.manual_seed(0)
net = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

def update(x):
    optimizer.zero_grad()
    loss = (net(x) - x.sum(1, keepdim=True)).pow(2).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()

for epoch in range(4):
    losses = [update(torch.rand(8, 3) / (0.0 if (epoch, batch) == (3, 2) else 1.0)) for batch in range(5)]
"""


def test_updates_of_a_comprehension_have_one_loss(tmp_path: Path) -> None:
    found = incident(tmp_path, EPOCHS)
    read = steps(found)
    assert found["step"] == 17 and read["loss"] == list(range(18)) and "loss[1]" not in read
