import hashlib

import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint


class Deep(nn.Module):
    def __init__(self, depth=4, width=12):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(0.2)) for _ in range(depth)
        )
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        for layer in self.layers:
            x = x + checkpoint(layer, x, use_reentrant=False)
        return self.out(x)


def fit(model, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(steps):
        x = torch.randn(8, 12, requires_grad=True)
        loss = (model(x) - x.detach().sum(1, keepdim=True)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 4:
            print(step, loss.item(), x.grad.norm().item())
    return optimizer


torch.manual_seed(29)
model = Deep()
optimizer = fit(model, 15)
sha = hashlib.sha256()
for p in model.parameters():
    sha.update(p.detach().numpy().tobytes() + optimizer.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
