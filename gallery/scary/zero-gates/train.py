"""Twelve residual layers whose branches open by themselves, for the mixture of two moons."""

import torch
from torch import nn


class Branch(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        return x + self.gate * torch.relu(self.inner(x))


def moons(count):
    angle = torch.pi * torch.rand(count)
    side = torch.randint(0, 2, (count,))
    x = torch.where(side == 0, angle.cos(), 1.0 - angle.cos())
    y = torch.where(side == 0, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x, y], 1) + 0.08 * torch.randn(count, 2), side


torch.manual_seed(1)
model = nn.Sequential(nn.Linear(2, 32), *(Branch(32) for _ in range(12)), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(250):
    points, side = moons(64)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(points), side)
    loss.backward()
    optimizer.step()
    if step % 25 == 0:
        print(f"{step:3d} {loss.item():.4f}")
