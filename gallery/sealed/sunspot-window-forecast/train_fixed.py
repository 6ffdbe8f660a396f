"""Forecast the yearly sunspot number from the 24 years before it."""
import hashlib

import numpy as np
import torch
from torch import nn
from statsmodels.datasets import sunspots

WINDOW = 24
BATCH = 32
EPOCHS = 60


class Encoder(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.conv1 = nn.Conv1d(1, width, 5, padding=2)
        self.conv2 = nn.Conv1d(width, width, 5, padding=4, dilation=2)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x):
        h = self.act(self.conv1(x[:, None]))
        h = h + self.act(self.conv2(h))
        return torch.cat([h.mean(2), h[:, :, -1]], 1)


class Forecaster:
    def __init__(self):
        self.encoder = Encoder()
        self.head = nn.Sequential(nn.Linear(48, 32), nn.LeakyReLU(0.1), nn.Linear(32, 1))
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)

    def parameters(self):
        return list(self.encoder.parameters()) + list(self.head.parameters())

    def predict(self, x):
        return self.head(self.encoder(x))[:, 0]

    def update(self, x, y):
        self.optimizer.zero_grad()
        error = self.predict(x) - y
        loss = (error ** 2).mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def windows():
    series = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(dtype=np.float32)
    series = np.sqrt(series)
    series = (series - series.mean()) / series.std()
    x = np.lib.stride_tricks.sliding_window_view(series, WINDOW)[:-1]
    return torch.tensor(x.copy()), torch.tensor(series[WINDOW:].copy())


def main():
    torch.manual_seed(3)
    x, y = windows()
    n_train = 240
    model = Forecaster()
    for epoch in range(EPOCHS):
        order = torch.randperm(n_train)
        losses = [model.update(x[part], y[part]) for part in order.split(BATCH)]
        if epoch % 5 == 0 or epoch < 5:
            print(f"epoch {epoch:3d}  loss {np.mean(losses):.4f}")
    with torch.no_grad():
        test = ((model.predict(x[n_train:]) - y[n_train:]) ** 2).mean().item()
    print(f"test loss {test:.4f}")
    print(f"final loss {np.mean(losses):.4f}")
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters()))
    print("weights", digest.hexdigest())


if __name__ == "__main__":
    main()
