"""A learning rate that went bad is told with the line that made its schedule."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from forkserver import run_cli

HEAD = """
import math
import torch
from torch.optim import lr_scheduler as schedules

torch.manual_seed(3)
net = torch.nn.Linear(5, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
"""
LOOP = """
for step in range(12):
    x = torch.randn(8, 5)
    loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
"""
SCHEDULES = {
    "lambda": """
rule = lambda step: 1.0 if step < 7 else math.nan  # <- schedule
schedule = schedules.LambdaLR(optimizer, rule)
""",
    "own class": """
class Decay(schedules.LRScheduler):
    def get_lr(self):
        left = torch.tensor(7.0 - self.last_epoch)
        return [base * float(left.sqrt() / left) for base in self.base_lrs]

schedule = Decay(optimizer)  # <- schedule
""",
}


def incident(tmp_path: Path, source: str) -> dict[str, Any]:
    (tmp_path / "train.py").write_text(source, encoding="utf-8")
    done = run_cli(["run", "--quiet", "--report", "made", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert done.exit_code == 3, done.stderr
    report = json.loads((tmp_path / "made" / "report.json").read_bytes())
    (found,) = report["incidents"]
    return dict(found)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_line_that_made_the_schedule(name: str, tmp_path: Path) -> None:
    source = HEAD + SCHEDULES[name] + LOOP
    found = incident(tmp_path, source)
    lines = source.splitlines()
    (made,) = [number for number, line in enumerate(lines, 1) if "# <- schedule" in line]
    assert (found["step"], found["symptom"]) == (7, "nonfinite-learning-rate")
    assert found["origin"]["line"] == lines.index("    optimizer.step()") + 1
    assert found["origin"]["inputs"][0]["nan"] == 1
    assert found["causes"][0]["cause"] == "invalid-learning-rate-schedule"
    assert found["causes"][0]["location"]["line"] == made


def test_a_rate_written_by_hand_is_told_with_the_line_that_wrote_it(tmp_path: Path) -> None:
    by_hand = LOOP.replace("schedule.step()", "optimizer.param_groups[0]['lr'] = 0.1 if step < 5 else math.inf")
    found = incident(tmp_path, textwrap.dedent(HEAD + by_hand))
    assert (found["step"], found["causes"][0]["cause"]) == (6, "invalid-learning-rate-schedule")
    assert found["causes"][0]["location"]["code"].startswith("optimizer.param_groups[0]['lr'] = ")


def test_a_rate_far_beyond_what_its_schedule_multiplies_is_the_cause(tmp_path: Path) -> None:
    rule = "schedule = schedules.LambdaLR(optimizer, lambda step: (step + 1) ** 2 / 8)\n"
    wide = LOOP.replace("torch.randn", "3.0 * torch.randn").replace("12", "400")
    first = incident(tmp_path, HEAD.replace("lr=0.1", "lr=0.0002") + rule + wide)["causes"][0]
    assert first["cause"] == "invalid-learning-rate-schedule"
    assert "from the 0.0002 that the schedule was given" in json.dumps(first)
