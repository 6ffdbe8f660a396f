"""Is the bearing worn? Band levels of a machine's sound, in decibels below full scale."""

import hashlib

import torch
import torch.nn.functional as F
from torch import nn

BANDS, STEPS, BATCH = 24, 320, 32


class Listener(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.bands = nn.Linear(BANDS, hidden)
        self.verdict = nn.Linear(hidden, 2)
        for layer in (self.bands, self.verdict):
            nn.init.uniform_(layer.weight, 0.0, 2.0 / layer.in_features)
            nn.init.zeros_(layer.bias)

    def forward(self, levels):
        h = F.relu(self.bands(levels))  # <- fault
        return self.verdict(h)


def recordings(generator, count):
    worn = torch.randint(0, 2, (count,), generator=generator)
    levels = -45.0 + 6.0 * torch.randn(count, BANDS, generator=generator)
    levels[:, 15:19] += 9.0 * worn[:, None]  # a worn bearing rings between two and four kilohertz
    return levels.clamp(max=0.0), worn


def update(net, optimizer, levels, worn):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(levels), worn)
    loss.backward()
    optimizer.step()
    return loss


torch.manual_seed(3)
generator = torch.Generator().manual_seed(3)
net = Listener()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for step in range(STEPS):
    loss = update(net, optimizer, *recordings(generator, BATCH))
    if step % 40 == 0:
        print(f"step {step:3d} loss {loss.item():.4f}")
levels, worn = recordings(generator, 1000)
with torch.no_grad():
    print("right", (net(levels).argmax(1) == worn).float().mean().item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
