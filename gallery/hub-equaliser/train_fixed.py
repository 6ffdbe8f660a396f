"""A hub of vibration sensors: each day their gains are set so that all channels are equally loud, then a fault is detected."""

import hashlib

import torch
from torch import nn

CHANNELS, DAYS, PER_DAY, BATCH = 8, 6, 96, 24


class Hub(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.register_buffer("gain", torch.ones(channels))
        self.detect = nn.Sequential(nn.Linear(channels, 24), nn.SiLU(), nn.Linear(24, 2))

    @torch.no_grad()
    def equalise(self, night):
        level = night.abs().mean(dim=0)
        self.gain.copy_(level.mean() / level.clamp(min=1e-3))

    def forward(self, vibration):
        return self.detect(vibration * self.gain)


def record(day, generator):
    loudness = torch.logspace(-1, 1, CHANNELS)
    vibration = torch.randn(PER_DAY, CHANNELS, generator=generator) * loudness
    if day >= 4:
        vibration[:, 3] = 0.0  # its plug came off
    return vibration, (vibration[:, 0] / 0.1 + vibration[:, 7] / 10.0 > 0).long()


def one_day(hub, optimizer, vibration, faulty):
    def closure(rows):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(hub(vibration[rows]), faulty[rows])
        loss.backward()
        return loss

    losses = []
    for rows in torch.arange(PER_DAY).split(BATCH):
        losses.append(closure(rows))
        optimizer.step()
    return sum(loss.item() for loss in losses) / len(losses)


if __name__ == "__main__":
    torch.manual_seed(3)
    noise = torch.Generator().manual_seed(4)
    hub = Hub(CHANNELS)
    optimizer = torch.optim.NAdam(hub.parameters(), lr=5e-3)
    for day in range(DAYS):
        vibration, faulty = record(day, noise)
        print("day", day, "loss", one_day(hub, optimizer, vibration, faulty))
        hub.equalise(vibration)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in hub.parameters())).hexdigest())
