"""Light through a lens of a learned shape: rays beyond the critical angle are lost, others are refracted."""

import hashlib

import torch
from torch import nn


def refract(sine, index):
    """Cosine behind the surface (rays,), and which rays get through."""
    rest = 1 - (index * sine) ** 2
    through = rest > 0
    unguarded = torch.sqrt(rest.detach())  # shown in the log only
    safe = torch.where(through, rest, torch.ones_like(rest))
    return torch.where(through, torch.sqrt(safe), torch.zeros_like(rest)), through, unguarded


class Lens(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw_index = nn.Parameter(torch.tensor(0.2))
        self.gain = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, sine):
        cosine, through, lost = refract(sine, 1 + nn.functional.softplus(self.raw_index))
        return torch.where(through, cosine * self.gain(sine[:, None]).squeeze(1), 0.0), lost


torch.manual_seed(55)
model = Lens()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(80):
    sine = torch.rand(64)
    truth = (1 - (1.5 * sine) ** 2).clamp(min=0).sqrt() * (1 + sine)
    seen, lost = model(sine)
    loss = nn.functional.mse_loss(seen, truth)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.5f}, {int(lost.isnan().sum())} rays are lost")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
