"""A training that goes bad at every step, in ever new places: neither the disk nor the terminal is flooded."""

from __future__ import annotations

import json
from pathlib import Path

from forkserver import run_cli
from sameness import write_job

STEPS = 90
TERMS = 30
TRAIN = f"""
import torch
torch.manual_seed(0)

class Head(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out = torch.nn.Linear(8, 1)
    def forward(self, x):
        return torch.log(self.out(x) * 1e-9 - 1).sum()

heads = torch.nn.ModuleDict({{f"head{{i}}": Head() for i in range({TERMS})}})
optimizer = torch.optim.SGD(heads.parameters(), lr=0.01)
for step in range({STEPS}):
    x = torch.randn(4, 8)
    optimizer.zero_grad()
    name = f"head{{step % {TERMS}}}"
    loss = heads[name](x)
    loss.backward()
    optimizer.step()
"""


def test_an_incident_at_every_step_floods_nothing(tmp_path: Path) -> None:
    write_job(tmp_path, {"train.py": TRAIN})
    wide = {"STAYFINITE_STRICT": "1", "COLUMNS": "100"}  # in a narrow terminal each report has more lines
    done = run_cli(["run", "--on-incident", "skip", "--report", "kept", "train.py"], tmp_path, wide)
    assert done.exit_code == 0
    report = json.loads((tmp_path / "kept" / "report.json").read_text(encoding="utf-8"))
    assert report["run"]["steps"] == STEPS
    assert len(report["incidents"]) == 20  # of thirty origins
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert len(list((tmp_path / "kept" / "cases").iterdir())) == 3
    lines = done.stderr.splitlines()
    in_a_line = [line for line in lines if line.endswith("the report has the rest")]
    assert (len(in_a_line), in_a_line[0]) == (15, "stayfinite: step 5: nonfinite-loss, born in log at train.py:10; the report has the rest")
    assert lines[-1] == f"stayfinite: {STEPS - 20} further steps failed too, in these or other ways"
    assert len(lines) < 5 * 60 + 20
