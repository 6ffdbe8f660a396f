"""Short-term forecasts from air pressure and dew point at a row of stations."""
import hashlib
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SETTINGS = {"history": 24, "horizon": 6, "batch": 32, "epochs": 4, "rate": 2e-3}


class StationHistory(Dataset):
    def __init__(self, hours=900, history=24, horizon=6, seed=4):
        gen = torch.Generator().manual_seed(seed)
        t = torch.arange(hours, dtype=torch.float32)
        pressure = 1013.0 + 9.0 * torch.sin(2 * math.pi * t / 170) + 0.4 * torch.randn(hours, generator=gen)
        calm = (t > 300) & (t < 380)
        pressure = torch.where(calm, torch.full_like(pressure, 1021.3), pressure)
        self.series = pressure.round(decimals=1)
        self.history, self.horizon = history, horizon

    def __len__(self):
        return len(self.series) - self.history - self.horizon

    def __getitem__(self, i):
        window = self.series[i : i + self.history]
        return window, self.series[i + self.history : i + self.history + self.horizon]


class ReversibleNorm(nn.Module):
    """Takes level and spread out of each window, and puts them back after the network."""

    def forward(self, window):
        level = window.mean(dim=1, keepdim=True)
        spread = window.std(dim=1, keepdim=True, unbiased=False)
        self.level, self.spread = level, spread + 1e-3
        return (window - self.level) / self.spread

    def denormalise(self, out):
        return out * self.spread + self.level


class Forecaster(nn.Module):
    def __init__(self, history, horizon, width=48):
        super().__init__()
        self.revin = ReversibleNorm()
        self.net = nn.Sequential(nn.Linear(history, width), nn.GELU(), nn.Linear(width, horizon))

    def forward(self, window):
        return self.revin.denormalise(self.net(self.revin(window)))


def run(settings):
    torch.manual_seed(11)
    data = StationHistory(history=settings["history"], horizon=settings["horizon"])
    loader = DataLoader(data, batch_size=settings["batch"], shuffle=True)
    model = Forecaster(settings["history"], settings["horizon"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["rate"])
    for epoch in range(settings["epochs"]):
        total = 0.0
        for window, future in loader:
            loss = nn.functional.smooth_l1_loss(model(window), future)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(loader):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    run(SETTINGS)
