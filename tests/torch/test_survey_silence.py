"""Trainings that look as if something had died, and are meant to be so: nothing is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forkserver import run_cli

HEAD = """
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0)
x = torch.randn(256, 12)
y = (x[:, 0] * 2 + x[:, 1] > 0).long() + (x[:, 2] > 1).long()
def rows(n=32):
    return torch.randint(0, 256, (n,))
"""

SCRIPTS = {
    "low rank adapters that begin at zero": """
base = nn.Linear(12, 3).requires_grad_(False)
down, up = nn.Parameter(torch.randn(12, 4) * 0.1), nn.Parameter(torch.zeros(4, 3))
optimizer = torch.optim.SGD([down, up], lr=0.05)
for step in range(120):
    i = rows()
    optimizer.zero_grad()
    F.cross_entropy(base(x[i]) + x[i] @ down @ up, y[i]).backward()
    optimizer.step()
""",
    "residual branches that begin at zero": """
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.gain = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12)), nn.Parameter(torch.zeros(1))
    def forward(self, h):
        return h + self.gain * self.inner(h)
net = nn.Sequential(Block(), Block(), nn.Linear(12, 3))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(120):
    i = rows()
    optimizer.zero_grad()
    F.cross_entropy(net(x[i]), y[i]).backward()
    optimizer.step()
""",
    "a margin that is kept in the end": """
net = nn.Linear(12, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
sign = torch.where(x[:, 0] > 0, 1.0, -1.0)
far = x[:, 0].abs() > 0.5
for step in range(200):
    optimizer.zero_grad()
    loss = torch.clamp(0.1 - sign[far] * net(x[far])[:, 0], min=0).mean()
    loss.backward()
    optimizer.step()
""",
    "a frozen body whose parameters the optimizer has": """
body, head = nn.Sequential(nn.Linear(12, 32), nn.ReLU()), nn.Linear(32, 3)
optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=1e-2)
for step in range(120):
    i = rows()
    with torch.no_grad():
        h = body(x[i])
    optimizer.zero_grad()
    F.cross_entropy(head(h), y[i]).backward()
    optimizer.step()
""",
    "a head for a task that comes later": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.now, self.later = nn.Linear(12, 32), nn.Linear(32, 3), nn.Linear(32, 7)
    def forward(self, h):
        return self.now(torch.relu(self.body(h)))
net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
for step in range(120):
    i = rows()
    optimizer.zero_grad()
    F.cross_entropy(net(x[i]), y[i]).backward()
    optimizer.step()
""",
    "words that never come": """
table, head = nn.Embedding(1000, 8), nn.Linear(8, 3)
optimizer = torch.optim.Adam([*table.parameters(), *head.parameters()], lr=1e-2)
for step in range(120):
    words = torch.randint(0, 40, (32, 5))
    optimizer.zero_grad()
    F.cross_entropy(head(table(words).mean(1)), words[:, 0] % 3).backward()
    optimizer.step()
""",
    "straight-through signs": """
class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h):
        return h.sign()
    @staticmethod
    def backward(ctx, gradient):
        return gradient
body, head = nn.Linear(12, 32), nn.Linear(32, 3)
optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=1e-2)
for step in range(120):
    i = rows()
    h = body(x[i])
    h = Sign.apply(h) if step % 2 else h + (h.round() - h).detach()
    optimizer.zero_grad()
    F.cross_entropy(head(h), y[i]).backward()
    optimizer.step()
""",
    "a codebook that follows by averages": """
encode, decode = nn.Linear(12, 4), nn.Linear(4, 12)
codes = nn.Parameter(torch.randn(16, 4))
optimizer = torch.optim.Adam([*encode.parameters(), *decode.parameters(), codes], lr=1e-2)
for step in range(150):
    i = rows()
    z = encode(x[i])
    nearest = torch.cdist(z.detach(), codes.detach()).argmin(1)
    q = codes.detach()[nearest]
    loss = F.mse_loss(decode(z + (q - z).detach()), x[i]) + 0.25 * F.mse_loss(z, q)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for k in nearest.unique():
            codes[k].lerp_(z[nearest == k].mean(0), 0.1)
""",
    "a clipped objective": """
policy = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(policy.parameters(), lr=3e-2)
for update in range(10):
    i = rows(64)
    with torch.no_grad():
        old = torch.distributions.Categorical(logits=policy(x[i]))
        action = old.sample()
        before, advantage = old.log_prob(action), torch.where(action == y[i], 1.0, -1.0)
    for epoch in range(12):
        ratio = (torch.distributions.Categorical(logits=policy(x[i])).log_prob(action) - before).exp()
        loss = -torch.min(ratio * advantage, ratio.clamp(0.95, 1.05) * advantage).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    "two that take turns": """
make = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 12))
judge = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
first, second = torch.optim.Adam(judge.parameters(), lr=2e-3), torch.optim.Adam(make.parameters(), lr=2e-3)
one, zero = torch.ones(32, 1), torch.zeros(32, 1)
for step in range(120):
    i = rows()
    fake = make(torch.randn(32, 4))
    loss = F.binary_cross_entropy_with_logits(judge(x[i]), one) + F.binary_cross_entropy_with_logits(judge(fake.detach()), zero)
    first.zero_grad()
    loss.backward()
    first.step()
    loss = F.binary_cross_entropy_with_logits(judge(fake), one)
    second.zero_grad()
    loss.backward()
    second.step()
""",
    "a rate that begins and ends at zero": """
net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: max(0.0, min((s - 30) / 20, (100 - s) / 50)))
for step in range(220):
    i = rows()
    optimizer.zero_grad()
    F.cross_entropy(net(x[i]), y[i]).backward()
    optimizer.step()
    schedule.step()
""",
    "targets that are noise": """
net = nn.Sequential(nn.Linear(12, 32), nn.Sigmoid(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
for step in range(200):
    i = rows(128)
    optimizer.zero_grad()
    F.mse_loss(net(x[i])[:, 0], torch.randn(128)).backward()
    optimizer.step()
""",
    "single units that are dead": """
net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
with torch.no_grad():
    net[0].bias[:40] = -50.0
    net[2].bias[:40] = -50.0
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(120):
    i = rows()
    optimizer.zero_grad()
    F.cross_entropy(net(x[i]), y[i]).backward()
    optimizer.step()
""",
    "a large loss that is stable": """
net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(160):
    i = rows()
    optimizer.zero_grad()
    (1e6 * F.mse_loss(net(x[i])[:, 0], x[i, 0])).backward()
    optimizer.step()
""",
    "nothing left to learn": """
net = nn.Linear(12, 3)
optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
for step in range(300):
    optimizer.zero_grad()
    F.mse_loss(net(x[:4]), torch.zeros(4, 3)).backward()
    optimizer.step()
""",
    "a second training on another scale": """
net = nn.Linear(12, 3)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
for step in range(150):
    optimizer.zero_grad()
    F.mse_loss(net(x), x[:, :3] * 0.1).backward()
    optimizer.step()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(100):
    optimizer.zero_grad()
    F.cross_entropy(100 * net(x), y).backward()
    optimizer.step()
""",
    "outputs that lie at their bound because the loss wants them there": """
body, heads = nn.Sequential(nn.Linear(12, 16), nn.Tanh()), nn.ModuleList(nn.Linear(16, 1) for _ in range(3))
for head in heads:
    nn.init.constant_(head.bias, 0.5)
rain = torch.where(torch.rand(256) < 0.6, torch.zeros(256), 2 + x[:, 0].abs())
optimizer = torch.optim.Adam([*body.parameters(), *heads.parameters()], lr=2e-2)
for step in range(150):
    i = rows()
    h = body(x[i])
    low = torch.clamp(heads[0](h), min=0)[:, 0]
    some = torch.relu(heads[1](h)).squeeze(1)
    high = heads[2](h)[:, 0]
    loss = sum(torch.maximum(q * (rain[i] - out), (q - 1) * (rain[i] - out)).mean() for q, out in ((0.05, low), (0.2, some), (0.9, high)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    "a temperature that has come to its limit": """
one, other = nn.Linear(12, 8), nn.Linear(12, 8)
scale = nn.Parameter(torch.tensor(1.0))
optimizer = torch.optim.Adam([{"params": [*one.parameters(), *other.parameters()]}, {"params": [scale], "lr": 0.1}], lr=5e-4)
for step in range(300):
    i = torch.randperm(256)[:32]
    left, right = F.normalize(one(x[i]), dim=1), F.normalize(other(x[i]), dim=1)
    optimizer.zero_grad()
    F.cross_entropy(left @ right.T * scale.exp().clamp(0.5, 4.0), torch.arange(32)).backward()
    optimizer.step()
""",
    "experts that are not asked": """
gate, experts = nn.Linear(12, 4), nn.ModuleList(nn.Linear(12, 3) for _ in range(4))
with torch.no_grad():
    gate.bias[3] = -100.0
optimizer = torch.optim.Adam([*gate.parameters(), *experts.parameters()], lr=1e-2)
for step in range(120):
    i = rows()
    weight, which = gate(x[i]).softmax(1).max(1)
    out = torch.zeros(32, 3)
    for k, expert in enumerate(experts):
        mine = which == k
        out = out.index_put((mine.nonzero()[:, 0],), weight[mine, None] * expert(x[i][mine]))
    optimizer.zero_grad()
    F.cross_entropy(out, y[i]).backward()
    optimizer.step()
""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(HEAD + SCRIPTS[name])
    done = run_cli(["run", "--json", "report.json", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    report = json.loads((tmp_path / "report.json").read_text())
    assert (done.exit_code, done.stderr, report["status"]) == (0, "", "clean")


def test_an_output_that_the_loss_wants_elsewhere_is_told(tmp_path: Path) -> None:
    script = SCRIPTS["outputs that lie at their bound because the loss wants them there"].replace("head.bias, 0.5", "head.bias, -5.0")
    (tmp_path / "train.py").write_text(HEAD + script.replace("(0.05, low)", "(0.9, low)"))
    run_cli(["run", "--json", "report.json", "train.py"], tmp_path, {"STAYFINITE_STRICT": "1"})
    report = json.loads((tmp_path / "report.json").read_text())
    assert [one["causes"][0]["cause"] for one in report["incidents"]] == ["dead-relu"]
