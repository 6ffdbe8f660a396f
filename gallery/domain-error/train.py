"""Regression with a predicted spread: the network gives a mean and a standard deviation for each row."""

import hashlib
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SpreadHead(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.variance = nn.Linear(width, 1)
        nn.init.constant_(self.variance.bias, 1.0)

    def forward(self, h):
        return torch.sqrt(self.variance(h))  # <- origin


class MeanAndSpread(nn.Module):
    def __init__(self, features, width=32):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.mean = nn.Linear(width, 1)
        self.spread = SpreadHead(width)

    def forward(self, x):
        h = self.encoder(x)
        return self.mean(h).squeeze(1), self.spread(h).squeeze(1)


def negative_log_likelihood(mean, std, y):
    return (std.log() + 0.5 * ((y - mean) / std) ** 2).mean() + 0.5 * math.log(2 * math.pi)


torch.manual_seed(5)
x = torch.randn(640, 5)
y = x[:, 0] - 0.5 * x[:, 1] * x[:, 2] + 0.5 * torch.randn(640)
x[597] *= -40.0  # a station far away from all the others
loader = DataLoader(TensorDataset(x, y), batch_size=16)

model = MeanAndSpread(features=5)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for batch, (inputs, targets) in enumerate(loader):
    optimizer.zero_grad()
    mean, std = model(inputs)
    loss = negative_log_likelihood(mean, std, targets)
    loss.backward()
    optimizer.step()
    if batch % 8 == 0:
        print(f"batch {batch}: nll {loss.item():.4f}, mean spread {std.mean().item():.3f}")

print(f"final loss {loss.item():.6f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
