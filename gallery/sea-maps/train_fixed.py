"""Maps of the surface of a bay are squeezed into a few numbers; they come from a buoy by radio."""

import hashlib

import torch
from torch import nn

WARMEST = 40.0


def archive(count, generator):
    maps = torch.randn(count, 1, 8, 8, generator=generator).cumsum(dim=2) / 3.0 + 14.0
    maps[217, 0, 6, 5] *= 2.0**80  # a bit of its exponent fell over on the way
    maps = torch.where(maps > WARMEST, 14.0, maps)
    return maps - 14.0


def block(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.Hardswish()
    )


class Bay(nn.Module):
    def __init__(self):
        super().__init__()
        self.squeeze = nn.Sequential(block(1, 8), nn.MaxPool2d(2), block(8, 16), nn.AdaptiveAvgPool2d(2))
        self.restore = nn.ConvTranspose2d(16, 1, 4, stride=4)

    def forward(self, surface):
        return self.restore(self.squeeze(surface))


generator = torch.Generator().manual_seed(8)
torch.manual_seed(8)
maps = archive(320, generator)
bay = Bay()
optimizer = torch.optim.AdamW(bay.parameters(), lr=2e-3)
for epoch in range(2):
    order = torch.randperm(len(maps), generator=generator)
    for rows in order.split(20):
        misfit = (bay(maps[rows]) - maps[rows]).square().mean(dim=(1, 2, 3))
        loss = misfit.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in bay.parameters())).hexdigest())
