"""Finite failures in several styles: the symptom, the first cause and the line that somebody would change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forkserver import run_cli

HEAD = """
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0)
x = torch.randn(256, 5)
y = (x[:, 0] * 2 + 5 * x[:, 1]).long() % 4
"""
FIT = """
def fit(net, loss_of, optimizer, updates=120):
    for _ in range(updates):
        i = torch.randint(256, (32,))
        optimizer.zero_grad()
        loss_of(net(x[i]), i).backward()
        optimizer.step()
"""

SCRIPTS = {
    "a difference written out, with a product of itself": (FIT + """
low = -x[:, 0].exp() - 2
def rmse(out, i):
    gap = low[i] - out.mean(1)
    return torch.sqrt((gap * gap).sum() / 32)
net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3), nn.ReLU())  # the rectifier is chosen here
fit(net, rmse, torch.optim.Adam(net.parameters(), lr=3e-2))
""", {"dead-gradient", "plateau"}, "activation-loss-mismatch", "nn.ReLU())"),
    "a logarithm of shares of shares": ("""
net = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 4), nn.Softmax(dim=1))
optimizer = torch.optim.SGD(net.parameters(), lr=1e-5)
for _ in range(420):
    i = torch.randint(256, (32,))
    loss = -net(x[i]).log_softmax(1)[torch.arange(32), y[i]].mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""", {"plateau"}, "activation-loss-mismatch", "log_softmax"),
    "a limit for clipping that is far too small": ("""
net = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(420):
    i = torch.randint(256, (32,))
    optimizer.zero_grad()
    F.cross_entropy(net(x[i]), y[i]).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1e-6)
    optimizer.step()
""", {"plateau"}, "frozen-parameters", "clip_grad_norm_"),
    "a head that the optimizer does not have": (FIT + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(5, 32), nn.Tanh()), nn.Linear(32, 10)
    def forward(self, x):
        with torch.no_grad():
            h = self.body(x)
        return self.head(h)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
net.head = nn.Linear(32, 4)
fit(net, lambda out, i: F.cross_entropy(out, y[i]), optimizer)
""", {"dead-gradient"}, "frozen-parameters", "net.head ="),
    "a network made anew by a factory": (FIT + """
def network(width):
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 4))
net = network(16)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
for width in (16, 32):
    net = network(width)
    fit(net, lambda out, i: F.cross_entropy(out, y[i]), optimizer)
""", {"dead-gradient"}, "frozen-parameters", "    net = network(width)"),
    "weights that are put anew into the layers": (FIT + """
def fresh(module):
    if isinstance(module, nn.Linear):
        module.weight = nn.Parameter(torch.empty_like(module.weight).uniform_(-0.3, 0.3))
        module.bias = nn.Parameter(torch.zeros_like(module.bias))
net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
net.apply(fresh)
fit(net, lambda out, i: F.cross_entropy(out, y[i]), optimizer)
""", {"dead-gradient"}, "frozen-parameters", "module.weight ="),
    "scores multiplied with the root of the width": ("""
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.key, self.query = nn.Linear(5, 64), nn.Linear(5, 64)
    def forward(self, rows):
        scores = self.query(rows) @ self.key(rows).T * 4096.0
        looks = scores.softmax(1)
        return looks @ rows
net = Attention()
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
for _ in range(120):
    i = torch.randint(256, (32,))
    optimizer.zero_grad()
    F.mse_loss(net(4 * x[i]), 4 * x[i].roll(1, 0)).backward()
    optimizer.step()
""", {"dead-gradient", "plateau"}, "saturated-activation", "scores ="),
    "rows of zeros that join later": ("""
def phase(table, updates):
    optimizer = torch.optim.SGD([table], lr=0.1)
    for _ in range(updates):
        i = torch.randint(len(table), (48,))
        rows = table[i]
        unit = rows / (rows.norm(dim=1, keepdim=True) + 1e-12)
        loss = F.mse_loss(unit, torch.ones_like(unit))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        table.data.clamp_(-5.0, 5.0)
first = torch.randn(30, 8).requires_grad_()
phase(first, 50)
phase(torch.cat([first.detach(), torch.zeros(6, 8)]).requires_grad_(), 30)
""", {"gradient-explosion"}, "zero-norm-vector", "unit ="),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_symptom_cause_and_place(name: str, tmp_path: Path) -> None:
    text, symptoms, cause, place = SCRIPTS[name]
    (tmp_path / "train.py").write_text(HEAD + text)
    done = run_cli(["run", "--json", "report.json", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    incidents = json.loads((tmp_path / "report.json").read_text())["incidents"]
    assert done.exit_code == 0, done.stderr
    assert incidents, "nothing was told"
    first = incidents[0]["causes"][0]
    line = (HEAD + text).splitlines()[first["location"]["line"] - 1]
    assert (incidents[0]["symptom"] in symptoms, first["cause"], place in line) == (True, cause, True), (incidents[0]["symptom"], line)
