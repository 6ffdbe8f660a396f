"""Forecast carbon dioxide two weeks ahead with error bars: a recurrent network gives mean and spread of the change."""

import hashlib

import torch
from statsmodels.datasets import co2
from torch import nn

HISTORY, AHEAD = 20, 2


class Forecaster(nn.Module):
    def __init__(self, hidden=20):
        super().__init__()
        self.memory = nn.GRU(1, hidden, batch_first=True)
        self.mean = nn.Linear(hidden, 1)
        self.spread = nn.Sequential(nn.Linear(hidden, 1), nn.ReLU())

    def forward(self, series):
        _, state = self.memory(series.unsqueeze(2))
        return self.mean(state[0]).squeeze(1), self.spread(state[0]).squeeze(1)


def surprise(observed, mean, sigma):
    """Negative log-likelihood of a normal distribution, without its constant."""
    return (torch.log(sigma) + 0.5 * ((observed - mean) / sigma) ** 2).mean()  # <- origin


def windows(values):
    starts = range(len(values) - HISTORY - AHEAD)
    past = torch.stack([values[i : i + HISTORY] for i in starts])
    following = torch.stack([values[i + HISTORY + AHEAD - 1] for i in starts])
    last = past[:, -1:]
    return past - last, following - last.squeeze(1)


def main():
    torch.manual_seed(12)
    values = torch.tensor(co2.load_pandas().data["co2"].interpolate().to_numpy(), dtype=torch.float32)
    past, change = windows(values)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step, rows in enumerate(torch.randperm(len(past)).split(32)):
        mean, sigma = model(past[rows])
        loss = surprise(change[rows], mean, sigma)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step:2d}: {loss.item():.4f}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
