"""`watch()` beside a loop that runs already: the step is held and the way to its line is said; `replay` goes it."""

from __future__ import annotations

import json
from pathlib import Path

from forkserver import run_bare, run_cli

TRAIN = """
import hashlib
import torch
import stayfinite

torch.manual_seed(0)
net = torch.nn.Linear(4, 1)
optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
guard = stayfinite.watch(net, optimizer, report="made", quiet=True)
try:
    for i in range(10):
        x = torch.rand(8, 4)
        before = hashlib.sha256(net.weight.detach().numpy().tobytes()).hexdigest()
        if i == 4:
            x[3] = -1
        loss = (torch.log(x).sum(1) - net(x)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
except stayfinite.TrainingHalted as halted:
    print(halted)
    print(before == hashlib.sha256(net.weight.detach().numpy().tobytes()).hexdigest())
    guard.close()
"""


def test_it_is_held_and_says_what_would_repeat_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    done = run_bare(["train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    assert (done.exit_code, done.stdout) == (0, "step 4: nonfinite loss (nan); the step was held\nTrue\n"), done.stderr
    (incident,) = json.loads((tmp_path / "made" / "report.json").read_bytes())["incidents"]
    assert incident["origin"] is None and incident["held"]
    assert "guard.step" in incident["replay"]["not_tested"] and "stayfinite run" in incident["replay"]["not_tested"]


def test_replay_runs_the_script_with_its_loop_wrapped(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    assert run_bare(["train.py"], tmp_path).exit_code == 0
    done = run_cli(["replay", "made"], tmp_path)
    line = TRAIN.splitlines().index("        loss = (torch.log(x).sum(1) - net(x)).pow(2).mean()") + 1
    assert f"log at train.py:{line}" in done.stdout + done.stderr
