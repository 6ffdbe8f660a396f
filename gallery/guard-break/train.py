"""Which wine is it? Shares of twelve compounds, and a loop that gives up when the loss is no number any more."""

import hashlib

import torch
import torch.nn.functional as F
from torch import nn


class Shares(nn.Module):
    """Amounts of compounds as shares of the whole."""

    def forward(self, amounts):
        total = amounts.sum(dim=1, keepdim=True)
        return amounts / total  # <- origin


torch.manual_seed(12)
wines = torch.rand(3, 12)
model = nn.Sequential(Shares(), nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for step in range(80):
    kind = torch.randint(3, (16,))
    amounts = (wines[kind] + 0.3 * torch.rand(16, 12)) * (20 + 30 * torch.rand(16, 1))
    if step == 47:
        amounts[6] = 0.0  # an empty vial
    loss = F.cross_entropy(model(amounts), kind)
    if torch.isnan(loss):
        print(f"loss is NaN at step {step}, stopping")
        break
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step} loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
