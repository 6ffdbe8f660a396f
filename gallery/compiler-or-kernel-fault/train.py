"""A small implicit image: a network of sinc units learns to reproduce a picture from its coordinates."""

import hashlib
import math

import torch
from torch import nn


class Sinc(torch.autograd.Function):
    """sin(x) / x, and 1 at 0."""

    @staticmethod
    def forward(ctx, x):
        near = x.abs() < 1e-6
        y = torch.where(near, torch.ones_like(x), torch.sin(x) / torch.where(near, torch.ones_like(x), x))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, upstream):
        x, y = ctx.saved_tensors
        return upstream * (torch.cos(x) - y) / x  # <- origin


class Units(nn.Module):
    def __init__(self, fan_in, fan_out, omega):
        super().__init__()
        self.omega = omega
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in).uniform_(-1, 1) * math.sqrt(3 / fan_in))

    def forward(self, x):
        return Sinc.apply(self.omega * x @ self.weight.T)


def picture(side):
    axis = torch.arange(side) / (side // 2) - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    brightness = torch.exp(-4 * ((rows - 0.2) ** 2 + (columns + 0.3) ** 2)) + 0.3 * torch.sin(6 * rows)
    return torch.stack((rows, columns), -1).reshape(-1, 2), brightness.reshape(-1, 1)


torch.manual_seed(3)
coordinates, brightness = picture(side=31)  # one pixel lies in the middle
net = nn.Sequential(Units(2, 48, 4.0), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
order = torch.randperm(len(coordinates), generator=torch.Generator().manual_seed(1))
for epoch in range(4):
    error = 0.0
    for chunk in order.split(62):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(coordinates[chunk]), brightness[chunk])
        loss.backward()
        optimizer.step()
        error += float(loss.detach())
    print(f"epoch {epoch} error {error:.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
