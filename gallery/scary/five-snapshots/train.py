"""Snapshots of an ensemble: the rate falls to exactly 0 and jumps back to a wild one, five times."""

import copy
import math

import torch
from torch import nn

torch.manual_seed(2)
angle = torch.rand(600) * 9
arm = torch.randint(3, (600,))
x = torch.stack([angle * torch.cos(angle / 2 + 2.1 * arm), angle * torch.sin(angle / 2 + 2.1 * arm)], 1) / 4
model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, nesterov=True)
snapshots = []
for cycle in range(5):
    for step in range(60):
        for group in optimizer.param_groups:
            group["lr"] = 0.2 * (1 + math.cos(math.pi * step / 50)) if step < 50 else 0.0
        rows = torch.randint(600, (64,))
        loss = nn.functional.cross_entropy(model(x[rows]), arm[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    snapshots.append(copy.deepcopy(model))
    with torch.no_grad():
        votes = sum(one(x).softmax(1) for one in snapshots)
    print(cycle, f"loss {loss.item():.4f} ensemble {(votes.argmax(1) == arm).float().mean().item():.3f}")
