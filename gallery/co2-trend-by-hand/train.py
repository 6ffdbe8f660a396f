"""Trend and seasons of CO2 on Mauna Loa: a linear model of the year and four waves, by gradient descent."""

import hashlib
import math

import torch
from statsmodels.datasets import co2

frame = co2.load_pandas().data.dropna()
year = torch.tensor([date.year + date.dayofyear / 365.25 for date in frame.index])  # <- fault
ppm = torch.tensor(frame["co2"].to_numpy(), dtype=torch.float32)
aim = (ppm - ppm.mean()) / ppm.std()
waves = [f(2 * math.pi * k * year) for k in (1, 2) for f in (torch.sin, torch.cos)]
design = torch.stack([year, *waves], dim=1)  # <- fault

weights = torch.zeros(design.shape[1], requires_grad=True)
offset = torch.zeros((), requires_grad=True)
rate = 0.05
generator = torch.Generator().manual_seed(0)
for step in range(200):
    rows = torch.randint(len(design), (256,), generator=generator)
    error = design[rows] @ weights + offset - aim[rows]
    loss = error.square().mean()  # <- origin
    loss.backward()
    with torch.no_grad():
        for parameter in (weights, offset):
            parameter -= rate * parameter.grad
            parameter.grad = None
    if step % 40 == 0:
        print(f"step {step}: loss {loss.item():.5f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(torch.cat([weights.detach(), offset.detach()[None]]).numpy().tobytes()).hexdigest())
