"""Forecasts for stations that report now and then: running means hold NaN until a station was heard, evaluation skips those."""

import hashlib

import torch
from torch import nn


class Stations(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.register_buffer("mean", torch.full((count,), float("nan")))
        self.register_buffer("latest_error", torch.full((count,), float("nan")))
        self.effect = nn.Embedding(count, 6)
        self.out = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, station, hour):
        known = self.mean[station]
        known = torch.where(known.isnan(), torch.zeros(()), known)
        inputs = torch.cat([self.effect(station), torch.stack([hour.sin(), known], dim=1)], dim=1)
        return self.out(inputs).squeeze(1)

    @torch.no_grad()
    def hear(self, station, value, error):
        old = self.mean[station]
        self.mean[station] = torch.where(old.isnan(), value, 0.9 * old + 0.1 * value)
        self.latest_error[station] = error.abs()


torch.manual_seed(3)
model = Stations(90)
level = torch.randn(90)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
for step in range(80):
    station, hour = torch.randint(0, 20 + step // 2, (24,)), 6.28 * torch.rand(24)
    value = level[station] + hour.sin()
    error = model(station, hour) - value
    loss = error.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.hear(station, value, error.detach())
    if step % 20 == 19:
        model.eval()
        with torch.inference_mode():
            every = model(torch.arange(90), torch.zeros(90))
        print(step, every.std().item(), "missing:", int(model.mean.isnan().sum()), model.latest_error.nanmean().item())
        model.train()

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
