import hashlib

import torch
from torch import nn


class RainNet(nn.Module):
    """Without rain before there is none after: no constant is learned."""

    def __init__(self, gauges):
        super().__init__()
        self.mix = nn.Linear(gauges, 24, bias=False)
        self.out = nn.Linear(24, gauges, bias=False)

    def forward(self, before):
        return self.out(torch.tanh(self.mix(before)))


def days(count, gauges, seed):
    generator = torch.Generator().manual_seed(seed)
    for day in range(count):
        before = 3 * torch.rand(24, gauges, generator=generator)
        if day == 30:
            before = torch.zeros(24, gauges)
        yield before, 0.6 * before.roll(1, dims=1) + 0.2 * before


def accumulate(model, before, after, share):
    """Add `share` of one day's gradient to the parameters; the root mean squared error of the day."""
    squared = nn.functional.mse_loss(model(before), after)
    error = torch.sqrt(squared + 1e-9)
    (share * error).backward()
    return error.detach()


def finish(model, loss):
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
