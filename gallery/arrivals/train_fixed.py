"""Arrivals per hour: a Poisson likelihood, with a rate from a network that may not be negative."""
import hashlib

import torch
from torch import nn


class Rate(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1), nn.Softplus())

    def forward(self, x):
        return self.net(x)[:, 0]


def poisson(rate, count):
    return (rate - count * torch.log(rate)).mean()


torch.manual_seed(0)
x = torch.randn(1000, 2)
count = torch.poisson(torch.exp(0.8 * x[:, 0]))
model = Rate()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(50):
    rows = torch.randint(1000, (64,))
    loss = poisson(model(x[rows]), count[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
