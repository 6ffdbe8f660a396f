"""Electric load of a region for the next hour, from calendar and weather."""
import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset


@dataclass
class Setup:
    hours: int = 24 * 120
    hidden: list = field(default_factory=lambda: [48, 24])
    lr: float = 0.01
    momentum: float = 0.9
    batch: int = 48
    epochs: int = 4


def table(hours, seed=5):
    rng = np.random.default_rng(seed)
    t = np.arange(hours)
    day, week = 2 * np.pi * t / 24, 2 * np.pi * t / 168
    warmth = 12 + 8 * np.sin(2 * np.pi * t / 8760) + 4 * np.sin(day - 2) + rng.normal(0, 1.5, hours)
    load = 41000 + 6500 * np.sin(day - 1.9) + 2500 * np.cos(week) + 420 * np.maximum(0, 14 - warmth) + rng.normal(0, 500, hours)
    inputs = np.column_stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week), (warmth - 12) / 8])
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(load, dtype=torch.float32)


class Forecaster(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        sizes = [inputs, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.out = nn.Linear(sizes[-1], 1)

    def forward(self, x):
        for layer in self.layers:
            x = nn.functional.elu(layer(x))
        return self.out(x).squeeze(-1)


def main(setup):
    torch.manual_seed(0)
    inputs, load = table(setup.hours)
    target = load  # <- fault
    data = TensorDataset(inputs, target)
    train = Subset(data, range(int(0.8 * len(data))))
    model = Forecaster(inputs.shape[1], setup.hidden)
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr, momentum=setup.momentum)
    criterion = nn.MSELoss()
    for epoch in range(setup.epochs):
        for x, y in DataLoader(train, setup.batch, shuffle=True):
            guess = model(x)
            loss = criterion(guess, y)  # <- origin
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}/{setup.epochs}: {loss.item():.4g}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main(Setup())
