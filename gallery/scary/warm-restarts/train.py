"""Cosine annealing with warm restarts on a small spiral problem: each restart throws the network off for a while."""

import hashlib
import math

import torch
from torch import nn

torch.manual_seed(57)
turn = torch.rand(600) * 3 * math.pi
arm = torch.randint(2, (600,))
points = turn[:, None] / 5 * torch.stack([(turn + math.pi * arm).cos(), (turn + math.pi * arm).sin()], dim=1)
points = points + 0.03 * torch.randn_like(points)

model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=60, T_mult=2)
for step in range(420):
    rows = torch.randint(600, (60,))
    loss = nn.functional.cross_entropy(model(points[rows]), arm[rows])
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 2.0)
    optimizer.step()
    scheduler.step()
    if step % 30 == 0:
        print(f"step {step}: rate {scheduler.get_last_lr()[0]:.4f}, loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
