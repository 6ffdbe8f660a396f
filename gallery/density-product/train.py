"""A sensor's drift: the likelihood of forty readings per run under a Gaussian round a learned curve."""

import hashlib
import math

import torch
from torch import nn


class Drift(nn.Module):
    def __init__(self):
        super().__init__()
        self.curve = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
        self.raw_spread = nn.Parameter(torch.tensor(0.5))

    def density(self, time, reading):
        spread = nn.functional.softplus(self.raw_spread) + 1e-3
        distance = (reading - self.curve(time[..., None]).squeeze(-1)) / spread
        return torch.exp(-0.5 * distance**2) / (spread * math.sqrt(2 * math.pi))


def runs(count, generator):
    for _ in range(count):
        time = torch.rand(8, 40, generator=generator)
        yield time, 0.2 * torch.sin(2 * time) + 0.02 * torch.randn(8, 40, generator=generator)


torch.manual_seed(40)
model = Drift()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for run, (time, reading) in enumerate(runs(300, torch.Generator().manual_seed(40))):
    likelihood = model.density(time, reading).prod(dim=1)  # <- origin
    loss = -likelihood.log().mean() / 40
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if run % 50 == 0:
        print(f"run {run}: loss {loss.item():.4f}, spread {nn.functional.softplus(model.raw_spread).item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
