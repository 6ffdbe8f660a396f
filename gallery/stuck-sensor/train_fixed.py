"""Remaining life of a pump from its sensors. Every plant sends one file a month; each is brought to zero mean and unit spread."""

import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

SENSORS = ["pressure", "flow", "inlet temperature", "vibration", "current"]


def month(number):
    rng = np.random.default_rng(100 + number)
    readings = rng.normal([4.0, 30.0, 18.0, 0.6, 11.0], [0.4, 3.0, 2.5, 0.1, 0.8], size=(120, 5))
    if number == 4:
        readings[:, 2] = 21.5  # the display was frozen all month
    life = 400 - 60 * readings[:, 0] + 4 * readings[:, 1] - 90 * readings[:, 3]
    return readings.astype(np.float32), life.astype(np.float32)


def standardised(readings):
    centre = readings.mean(axis=0)
    spread = readings.std(axis=0)
    spread[spread < 1e-6] = 1.0
    return (readings - centre) / spread


months = []
for number in range(6):
    readings, life = month(number)
    months.append(TensorDataset(torch.from_numpy(standardised(readings)), torch.from_numpy(life) / 100))

torch.manual_seed(3)
model = nn.Sequential(nn.Linear(len(SENSORS), 24), nn.Tanh(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(2):
    for x, y in DataLoader(ConcatDataset(months), batch_size=30):
        optimizer.zero_grad()
        loss = nn.functional.smooth_l1_loss(model(x)[:, 0], y)
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())

print("weights", hashlib.sha256(nn.utils.parameters_to_vector(model.parameters()).detach().numpy().tobytes()).hexdigest())
