"""Counts of bike hires by hour: a shared encoder with its own optimizer, and a Poisson head."""
import hashlib
import math

import torch
from torch import nn


class Hires:
    def __init__(self, days=60, seed=14):
        g = torch.Generator().manual_seed(seed)
        hour = torch.arange(24 * days) % 24
        warm = torch.randn(days, generator=g).repeat_interleave(24)
        rain = (torch.rand(24 * days, generator=g) < 0.2).float()
        angle = hour * (2 * math.pi / 24)
        self.x = torch.stack([angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos(), warm, rain], 1)
        rate = torch.exp(1.2 - 0.8 * angle.cos() - 0.5 * (2 * angle).cos() + 0.3 * warm - 0.8 * rain)
        self.y = torch.poisson(rate, generator=g)

    def __len__(self):
        return len(self.y)


class Learner:
    def __init__(self, data, batch_size=48):
        self.data, self.batch_size = data, batch_size
        self.encoder = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 1)
        self.loss_fn = nn.PoissonNLLLoss(log_input=True)
        self.opt_encoder = torch.optim.SGD(self.encoder.parameters(), lr=0.1)
        self.opt_head = torch.optim.SGD(self.head.parameters(), lr=0.1)

    def train_batch(self, x, y):
        log_rate = self.head(self.encoder(x)).squeeze(1)
        loss = self.loss_fn(log_rate, y)
        self.opt_encoder.zero_grad()
        self.opt_head.zero_grad()
        loss.backward()
        self.opt_encoder.step()
        self.opt_head.step()
        return loss.item()

    def train_epoch(self):
        order = torch.randperm(len(self.data))
        batches = order.split(self.batch_size)
        return sum(self.train_batch(self.data.x[b], self.data.y[b]) for b in batches) / len(batches)


if __name__ == "__main__":
    torch.manual_seed(0)
    learner = Learner(Hires())
    for epoch in range(8):
        print("epoch", epoch, "deviance", round(learner.train_epoch(), 4))
    print("weights", hashlib.sha256(b"".join(
        p.detach().numpy().tobytes() for m in (learner.encoder, learner.head) for p in m.parameters())).hexdigest())
