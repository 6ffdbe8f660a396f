"""Forecasting a vibration sensor. For one moment its cable was loose, and the amplifier wrote what it read into the air."""

import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

rng = np.random.default_rng(11)
ticks = np.arange(900)
signal = np.sin(ticks / 7.0) + 0.4 * np.sin(ticks / 31.0) + 0.05 * rng.standard_normal(900)
signal[431] = 4.7e21  # the loose cable  # <- fault


class Windows(Dataset):
    """Twelve readings and the one after them."""

    def __init__(self, series, width=12):
        self.series = torch.tensor(series, dtype=torch.float32)
        self.width = width

    def __len__(self):
        return (len(self.series) - 1) // self.width

    def __getitem__(self, i):
        at = i * self.width
        return self.series[at : at + self.width, None], self.series[at + self.width]


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 24, batch_first=True)
        self.out = nn.Linear(24, 1)

    def forward(self, x):
        _, h = self.rnn(x)
        return self.out(h[-1]) + x[:, -1]


def error(prediction, truth):
    return ((prediction[:, 0] - truth) ** 2).mean()  # <- origin


class Fit:
    def __init__(self, model, loader):
        self.model, self.loader = model, loader
        self.optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)

    def epoch(self):
        total = 0.0
        for x, y in self.loader:
            loss = error(self.model(x), y)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)


torch.manual_seed(5)
model = Forecaster()
fit = Fit(model, DataLoader(Windows(signal), batch_size=15, shuffle=True))
for epoch in range(3):
    print("epoch", epoch, "mean loss", fit.epoch())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
