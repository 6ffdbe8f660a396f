"""A potential that bends light: a small network, whose slope has to agree with the deflections that were measured."""

import hashlib

import torch
from torch import nn

from physics import deflection


class Potential(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(1, width), nn.Linear(width, width), nn.Linear(width, 1)])

    def forward(self, radius):
        first, second, last = self.layers
        return last(torch.tanh(second(torch.tanh(first(radius[:, None]))))).squeeze(1)


def measurements(exposures, generator):
    for exposure in range(exposures):
        place = 2 * torch.randn(48, 2, generator=generator)
        if exposure == 12:
            place[5] = 0.0  # straight through the middle
        bent = place / (1 + place.pow(2).sum(dim=1, keepdim=True))
        yield place, bent + 0.01 * torch.randn(48, 2, generator=generator)


torch.manual_seed(10)
model = Potential()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for exposure, (place, bent) in enumerate(measurements(60, torch.Generator().manual_seed(4))):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(deflection(model, place), bent)
    loss.backward()
    optimizer.step()
    if exposure % 10 == 0:
        print(f"exposure {exposure}: loss {loss.item():.5f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
