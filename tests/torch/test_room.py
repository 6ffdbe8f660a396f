"""A state too large to be copied: the step is held, not repeated, and the report says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from forkserver import run_cli
from torch import nn

from stayfinite.frameworks.torch import room
from stayfinite.frameworks.torch.subjects import Subjects

TRAIN = """
import hashlib
import torch

torch.manual_seed(0)
net = torch.nn.Linear(1024, 600)
optimizer = torch.optim.Adam(net.parameters())
for step in range(6):
    x = torch.rand(4, 1024)
    loss = (net(x) / (0.0 if step == 4 else 1.0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, hashlib.sha256(net.weight.detach().numpy().tobytes()).hexdigest(), flush=True)
print(hashlib.sha256(net.weight.detach().numpy().tobytes()).hexdigest())
"""


@pytest.mark.parametrize("limit", ["1", "4000"])
def test_the_limit_decides_whether_the_step_is_repeated(limit: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    environment = {"STAYFINITE_SNAPSHOT_LIMIT": limit, "STAYFINITE_STRICT": "1"}
    argv = ["run", "--quiet", "--on-incident", "skip", "--report", "made", "train.py"]
    done = run_cli(argv, tmp_path, environment)
    assert done.exit_code == 0, done.stderr
    (incident,) = json.loads((tmp_path / "made" / "report.json").read_bytes())["incidents"]
    assert (incident["step"], incident["held"]) == (4, True)
    assert incident["reproduced"] == (limit == "4000")
    assert (incident["origin"] is None) == (limit == "1")
    reason = incident["replay"]["not_tested"]
    if limit == "1":
        assert reason.startswith("a repetition needs 9 MiB") and "1 MiB may be taken" in reason
    else:
        assert reason is None
    hashes = [line.split()[-1] for line in done.stdout.splitlines()]
    assert hashes[4] == hashes[3] != hashes[5]  # the fifth step was left out, bit for bit


def test_the_size_of_a_state_counts_each_tensor_once() -> None:
    net = nn.Sequential(nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8))
    net.append(net[0])
    optimizer = torch.optim.Adam(net.parameters())
    optimizer.zero_grad()
    net(torch.rand(4, 8)).sum().backward()
    optimizer.step()
    parameters = 64 + 8 + 8
    buffers = (8 + 8) * 4 + 8  # two statistics and a 64-bit counter
    steps = 3 * 4  # Adam's counters are tensors
    assert room.size_of_state(Subjects([net], [optimizer], lambda _: None)) == {
        torch.device("cpu"): 4 * (parameters * 4) + buffers + steps
    }


def test_the_limit_is_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STAYFINITE_SNAPSHOT_LIMIT", raising=False)
    limit = room.limit_on(torch.device("cpu"))
    assert limit is None or 0 < limit < 2**50
    assert room.limit_on(torch.device("meta")) is None
