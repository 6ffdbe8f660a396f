"""Growth rates of animal populations in neighbouring patches, fitted through the simulation itself.

Ricker's map with migration; the simulated years are made more from stage to stage.
"""
import hashlib

import torch

PATCHES, RATE, MIGRATION = 10, 2.9, 0.01


def migrate(n):
    return (1 - MIGRATION) * n + 0.5 * MIGRATION * (torch.roll(n, 1) + torch.roll(n, -1))


def simulate(start, r, years):
    n, path = start, [start]
    for year in range(1, years):
        n = migrate(n * torch.exp(r * (1 - n)))
        path.append(n)
    return torch.stack(path)


def field_data(years, generator):
    r = RATE + 0.1 * torch.randn(PATCHES, generator=generator)
    start = 0.5 + torch.rand(PATCHES, generator=generator)
    with torch.no_grad():
        return simulate(start, r, years)


def fit(counts, stages, steps, lr):
    r = torch.full((PATCHES,), 2.6, requires_grad=True)
    opt = torch.optim.Adam([r], lr=lr)
    for years in stages:
        for _ in range(steps):
            loss = torch.nn.functional.huber_loss(simulate(counts[0], r, years), counts[:years], delta=0.2)
            opt.zero_grad()
            loss.backward()
            opt.step()  # <- origin
        print("%4d years: misfit %.5f, mean rate %.3f" % (years, loss.item(), r.mean().item()))
    return r


if __name__ == "__main__":
    gen = torch.Generator().manual_seed(5)
    counts = field_data(300, gen)
    rates = fit(counts, stages=(5, 10, 25, 50, 100, 200, 300), steps=15, lr=0.01)
    print("weights", hashlib.sha256(rates.detach().numpy().tobytes()).hexdigest())
