"""How high will the tide be? A sum of waves whose speeds are known and whose heights are learnt."""

import hashlib
import math

import torch

HOURS = 24 * 28
SPEEDS = [28.984, 30.0, 28.44, 15.041, 13.943]  # degrees per hour: M2, S2, N2, K1, O1


class Tide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cosines = torch.nn.Parameter(torch.zeros(len(SPEEDS)))
        self.sines = torch.nn.Parameter(torch.zeros(len(SPEEDS)))
        self.mean = torch.nn.Parameter(torch.zeros(()))

    def forward(self, hours):
        angles = hours[:, None] * torch.tensor(SPEEDS) * math.pi / 180.0
        return self.mean + angles.cos() @ self.cosines + angles.sin() @ self.sines


def residual(predicted, measured):
    errors = predicted - measured
    return errors.square().mean()


torch.manual_seed(3)
hours = torch.arange(HOURS, dtype=torch.float32)
station = Tide()
with torch.no_grad():
    station.cosines.copy_(torch.tensor([1.2, 0.4, -0.3, 0.2, 0.1]))
    station.sines.copy_(torch.tensor([-0.7, 0.3, 0.1, -0.2, 0.3]))
    measured = station(hours) + 1.8 + 0.05 * torch.randn(HOURS)

tide = Tide()
optimizer = torch.optim.Adam(tide.parameters(), lr=0.03)
for pass_ in range(240):
    some = torch.randint(HOURS, (96,))
    optimizer.zero_grad()
    loss = residual(tide(hours[some]), measured[some])
    loss.backward()
    optimizer.step()
    if pass_ % 40 == 0:
        print(f"{pass_:3d} {loss.item():.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in tide.parameters())).hexdigest())
