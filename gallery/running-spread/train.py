"""Online regression on a stream of carbon dioxide readings, with running statistics of the inputs kept in the model."""

import hashlib

import torch
from statsmodels.datasets import co2
from torch import nn


class RunningScale(nn.Module):
    """Scales each feature with the mean and spread of what has been seen; training updates them."""

    def __init__(self, features, momentum=0.1):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("var", torch.ones(features))

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.mean(0), self.momentum)
                self.var.lerp_(x.var(0), self.momentum)  # <- origin
        return (x - self.mean) / (self.var + 1e-5).sqrt()


def stream(values, history, hold):
    """The readings arrive in bursts, with as many windows as there is news."""
    sizes = [16, 12, 16, 14, 1, 16, 15, 16]
    at = 0
    while at + hold + max(sizes) < len(values):
        for size in sizes:
            if at + size + history >= len(values):
                return
            rows = torch.stack([values[i : i + history] for i in range(at, at + size)])
            yield rows, values[at + history : at + history + size]
            at += size


def main():
    torch.manual_seed(30)
    values = torch.tensor(co2.load_pandas().data["co2"].interpolate().to_numpy(), dtype=torch.float32)
    model = nn.Sequential(RunningScale(8), nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.8)
    model.train()
    for number, (window, following) in enumerate(stream(values - 340.0, history=8, hold=16)):
        if number == 90:
            break
        change = following - window[:, -1]
        loss = (model(window).squeeze(1) - change).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number % 15 == 0:
            print(f"burst {number}: {loss.item():.4f}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
