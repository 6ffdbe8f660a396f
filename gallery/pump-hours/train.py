"""Lifetimes of pumps: a Weibull distribution whose scale and shape come from a network, with censoring."""
import hashlib

import torch
from torch import nn


def fleet(n=600, seed=14):
    g = torch.Generator().manual_seed(seed)
    usage = torch.randn(n, 6, generator=g)
    scale = torch.exp(1.0 + 0.4 * usage[:, 0])
    draw = -torch.log(1 - 0.999 * torch.rand(n, generator=g))
    life = 12 * scale * draw ** (1 / 2.0) + 0.02
    seen = torch.rand(n, generator=g) < 0.8
    return usage, life, seen.float()


class WeibullHead(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.raw = nn.Linear(width, 2)
        nn.init.normal_(self.raw.weight, std=1.4)

    def forward(self, h):
        log_scale, log_shape = self.raw(h).unbind(-1)
        return log_scale, self.shape(log_shape)

    def shape(self, log_shape):
        return torch.exp(log_shape)


class Lifetimes(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, width), nn.SELU(), nn.Linear(width, width), nn.SELU())
        self.head = WeibullHead(width)

    def forward(self, usage):
        return self.head(self.body(usage))


def negative_log_likelihood(log_scale, shape, life, seen):
    z = shape * (torch.log(life) - log_scale)
    hazard = torch.log(shape) - log_scale + (shape - 1) * (torch.log(life) - log_scale)
    return (torch.exp(z) - seen * hazard).mean()  # <- origin


def main():
    torch.manual_seed(8)
    usage, life, seen = fleet()
    model = Lifetimes()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(6):
        for rows in torch.randperm(len(life)).split(60):
            log_scale, shape = model(usage[rows])
            loss = negative_log_likelihood(log_scale, shape, life[rows], seen[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
