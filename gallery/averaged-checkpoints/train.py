"""Prices of flats: fine-tuning from the mean of three checkpoints, which are kept in half precision to save space."""

import hashlib
import os
import tempfile

import torch
from torch import nn


class Price(nn.Module):
    def __init__(self, typical):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(7, 32), nn.SiLU(), nn.Linear(32, 1))
        self.offset = nn.Parameter(torch.tensor(float(typical)))
        self.unit = 1000.0

    def forward(self, x):
        return self.offset + self.unit * self.features(x).squeeze(1)  # <- origin


def load_mean(paths):
    total = {}
    for path in paths:
        for name, value in torch.load(path).items():  # <- fault
            total[name] = total.get(name, 0) + value.float() / len(paths)
    return total


def fit(net, x, y, rate, epochs, keep=None):
    optimizer = torch.optim.NAdam(net.parameters(), lr=rate)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            error = nn.functional.huber_loss(net(x[rows]), y[rows], delta=2000.0)
            error.backward()
            optimizer.step()
            optimizer.zero_grad()
        if keep is not None:
            torch.save({name: value.half() for name, value in net.state_dict().items()}, keep.format(epoch))  # <- fault
    return error.item()


torch.manual_seed(12)
x = torch.randn(960, 7)
y = 82_000 + 9_000 * x[:, 0] + 3_000 * torch.relu(x[:, 1]) + 500 * torch.randn(960)
with tempfile.TemporaryDirectory() as folder:
    pattern = os.path.join(folder, "epoch{}.pt")
    print("first error", fit(Price(y.mean()), x[:640], y[:640], 0.01, 3, keep=pattern))
    mean = load_mean([pattern.format(epoch) for epoch in range(3)])

model = Price(0.0)
model.load_state_dict(mean)
final = fit(model, x[640:], y[640:], 0.003, 2)
print("final error", final)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
