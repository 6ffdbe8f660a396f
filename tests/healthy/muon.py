import hashlib

import torch
from torch import nn


def orthogonalise(m, steps=5):
    a, b, c = 2.0, -1.5, 0.5
    x = m / (m.norm() + 1e-7)
    transposed = x.shape[0] > x.shape[1]
    if transposed:
        x = x.T
    for _ in range(steps):
        g = x @ x.T
        x = a * x + (b * g + c * g @ g) @ x
    return x.T if transposed else x


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal for matrices; plain Adam, kept inside, for all else."""

    def __init__(self, matrices, others, lr=0.02, momentum=0.95):
        super().__init__([{"params": list(matrices), "lr": lr, "momentum": momentum}], {})
        self.inner = torch.optim.Adam(others, lr=lr / 5)

    def zero_grad(self, set_to_none=True):
        super().zero_grad(set_to_none)
        self.inner.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                buf = self.state[p].setdefault("buf", torch.zeros_like(p))
                buf.mul_(group["momentum"]).add_(p.grad)
                p.add_(orthogonalise(p.grad + group["momentum"] * buf), alpha=-group["lr"])
        self.inner.step()


torch.manual_seed(82)
net = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6), nn.GELU(), nn.Linear(6, 2))
opt = Muon([p for p in net.parameters() if p.ndim == 2], [p for p in net.parameters() if p.ndim < 2])
for step in range(14):
    x = torch.randn(10, 6)
    loss = nn.functional.cross_entropy(net(x), (x.sum(1) > 0).long())
    loss.backward()
    opt.step()
    opt.zero_grad()
    print(step, loss.item())
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes())
for s in [*opt.state.values(), *opt.inner.state.values()]:
    for v in s.values():
        sha.update(v.numpy().tobytes())
print("weights", sha.hexdigest())
