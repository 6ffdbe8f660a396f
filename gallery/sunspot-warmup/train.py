"""Sunspots: a network predicts the next year from eleven, with a cosine schedule of its own."""

import hashlib

import numpy as np
import torch
from statsmodels.datasets import sunspots
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


class WarmCosine:
    def __init__(self, total, warm, floor=0.02):
        self.total, self.warm, self.floor = total, warm, floor

    def __call__(self, step):
        done = np.float64(step - self.warm) / (self.total - self.warm)
        rising = np.float64(step + 1) / self.warm  # <- fault
        falling = self.floor + (1 - self.floor) * (1 + np.cos(np.pi * done)) / 2
        return falling * np.tanh(rising) if self.warm > step else falling + 0 * rising


def series(lag=11):
    activity = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    activity = torch.tensor(activity / 100, dtype=torch.float32)
    pieces = activity.unfold(0, lag + 1, 1)
    return pieces[:, :lag], pieces[:, lag:]


class Forecast(nn.Module):
    def __init__(self, lag=11, width=20):
        super().__init__()
        self.filter = nn.Conv1d(1, 4, 3)
        self.mix = nn.Linear(4 * (lag - 2), width)
        self.year = nn.Linear(width, 1)

    def forward(self, past):
        features = torch.relu(self.filter(past.unsqueeze(1))).flatten(1)
        return self.year(torch.relu(self.mix(features)))


def train(model, past, coming, epochs, batch, warm_share):
    steps = epochs * -(-len(past) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = LambdaLR(optimizer, WarmCosine(steps, int(warm_share * steps)))
    for epoch in range(epochs):
        for rows in torch.randperm(len(past)).split(batch):
            loss = nn.functional.l1_loss(model(past[rows]), coming[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()  # <- origin
            schedule.step()
        print(f"epoch {epoch}: {loss.item():.4f} at {schedule.get_last_lr()[0]:.5f}")
    return loss.item()


torch.manual_seed(14)
past, coming = series()
model = Forecast()
print("final loss", train(model, past, coming, epochs=6, batch=64, warm_share=0.02))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
