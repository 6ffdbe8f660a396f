"""A compiled model and a compiled loss (graphs taken, run by torch's own operators)."""

import hashlib

import torch
from torch import nn


class Wave(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward = nn.Linear(3, 32)
        self.norm = nn.LayerNorm(32)
        self.outward = nn.Linear(32, 1)

    def forward(self, x):
        h = torch.sin(self.inward(x))
        return self.outward(torch.nn.functional.silu(self.norm(h))).squeeze(-1)


@torch.compile(backend="aot_eager")
def masked_error(prediction, target, valid):
    error = torch.where(valid, prediction - target, torch.zeros_like(target))
    return error.square().sum() / valid.sum().clamp_min(1)


torch.manual_seed(0)
x = torch.rand(512, 3) * 4
y = torch.sin(x[:, 0]) * torch.cos(2 * x[:, 1]) + x[:, 2]
valid = torch.rand(512) < 0.8
y[~valid] = float("nan")
model = Wave()
fast = torch.compile(model, backend="aot_eager")
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(3):
    for rows in torch.arange(512).split(64):
        optimizer.zero_grad()
        loss = masked_error(fast(x[rows]), y[rows].nan_to_num(), valid[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
