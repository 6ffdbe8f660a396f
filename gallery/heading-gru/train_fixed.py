"""Where does a ship turn next? A GRU over the courses it held, from positions sent every minute."""

import hashlib

import torch
from torch import nn

from headings_fixed import Unit


class Pilot(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.memory = nn.GRU(2, width, batch_first=True)
        self.next = nn.Linear(width, 2)

    def forward(self, positions):
        course = Unit.apply(positions.diff(dim=1))
        seen, _ = self.memory(course[:, :-1])
        return self.next(seen), course[:, 1:]


def voyages(days, generator):
    for day in range(days):
        bearing = torch.randn(16, 1, generator=generator) + 0.3 * torch.randn(16, 20, generator=generator).cumsum(dim=1)
        moves = torch.stack([bearing.cos(), bearing.sin()], dim=2) * (5 + torch.rand(16, 20, 1, generator=generator))
        positions = moves.cumsum(dim=1)
        if day == 22:
            positions[9, 8:] = positions[9, 8]  # at anchor
        yield positions


torch.manual_seed(3)
model = Pilot()
optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
for day, positions in enumerate(voyages(45, torch.Generator().manual_seed(6))):
    guess, course = model(positions)
    loss = (1 - (guess * course).sum(dim=2)).mean() + 0.1 * guess.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if day % 10 == 0:
        print(f"day {day}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
