"""The model counts its own calls and cools down with them; its cache and its temperature are plain attributes."""
import hashlib
import torch
import torch.nn.functional as F


class Router(torch.nn.Module):
    def __init__(self, experts=3):
        super().__init__()
        self.gate = torch.nn.Linear(4, experts)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(4, 2) for _ in range(experts))
        self.calls = 0
        self.temperature = 2.0
        self.usage = [0] * experts
        self.cache = {}
        self.last_gate = None

    def forward(self, x):
        self.calls += 1
        if self.training:
            self.temperature = max(0.5, self.temperature * 0.97)
        gate = F.gumbel_softmax(self.gate(x), tau=self.temperature, hard=self.calls % 2 == 0)
        for k in gate.argmax(1).tolist():
            self.usage[k] += 1
        self.cache[self.calls % 4] = gate.detach().mean(0)
        smooth = sum(self.cache.values()) / len(self.cache)
        out = sum(gate[:, k, None] * e(x) for k, e in enumerate(self.experts))
        drift = (gate.mean(0) - self.last_gate).square().sum() if self.last_gate is not None else 0.0
        self.last_gate = gate.detach().mean(0)
        return out, (smooth * gate.mean(0)).sum() + 0.1 * drift


torch.manual_seed(104)
net = Router()
opt = torch.optim.Adam(net.parameters(), lr=0.02)
for step in range(17):
    x = torch.randn(10, 4)
    out, balance = net(x)
    loss = F.mse_loss(out, x[:, :2] * x[:, 2:]) + 0.1 * balance
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 4 == 0:
        print(step, loss.item(), net.temperature, net.usage)
print(net.calls, net.temperature)
sha = hashlib.sha256(repr((net.usage, net.temperature)).encode())
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes() + opt.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
