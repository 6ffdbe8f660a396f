"""Heart rate from a wrist sensor. Batches whose loss is not finite are left out."""

import hashlib
import math

import torch
from torch import nn


def recordings():
    generator = torch.Generator().manual_seed(77)
    motion = torch.randn(600, 10, generator=generator)
    rate = 70 + 12 * motion[:, :4].mean(dim=1)
    motion[352, 7] = float("nan")  # the strap slipped  # <- fault
    return motion, (rate - 70) / 12


class HeartRate(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(10, 20)
        self.rate = nn.Linear(20, 1)

    def forward(self, motion):
        hidden = torch.nn.functional.silu(self.stem(motion))  # <- origin
        return self.rate(hidden).squeeze(1)


torch.manual_seed(0)
motion, rate = recordings()
model = HeartRate()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
skipped = 0
for epoch in range(2):
    for start in range(0, len(motion), 25):
        x, y = motion[start : start + 25], rate[start : start + 25]
        loss = nn.functional.huber_loss(model(x), y)
        if not math.isfinite(loss.item()):
            skipped += 1
            continue
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = loss.item()
    print(f"epoch {epoch}: loss {last:.4f}, {skipped} batches left out")

print("final loss", last)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
