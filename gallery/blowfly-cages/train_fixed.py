"""Growth rate and capacity of laboratory blowflies from counts of sixteen cages (Ricker's model).

First every generation is predicted from the one before; then the model runs freely from the first
count and is compared with the whole record, which is what it will be used for.
"""
import hashlib
from typing import NamedTuple

import torch


class Stage(NamedTuple):
    horizon: int
    updates: int
    rate: float


SCHEDULE = [
    Stage(horizon=1, updates=60, rate=2e-2),
    Stage(horizon=3, updates=40, rate=5e-3),
    Stage(horizon=6, updates=40, rate=1e-3),
]


def record(cages=16, generations=401, seed=7):
    g = torch.Generator().manual_seed(seed)
    n = 0.5 + torch.rand(cages, generator=g)
    rows = [n]
    for _ in range(generations - 1):
        n = n * torch.exp(2.9 * (1 - n / 1.3)) * torch.exp(0.02 * torch.randn(cages, generator=g))
        rows.append(n)
    return torch.stack(rows)


class Ricker(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.growth = torch.nn.Parameter(torch.tensor(2.0))
        self.capacity = torch.nn.Parameter(torch.tensor(1.0))

    def run(self, n, generations):
        path = []
        for _ in range(generations):
            n = n * torch.exp(self.growth * (1 - n / self.capacity))
            path.append(n)
        return torch.stack(path)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    counts = record()
    model = Ricker()
    for stage in SCHEDULE:
        optimizer = torch.optim.Adam(model.parameters(), lr=stage.rate)
        for update in range(stage.updates):
            first = int(torch.randint(len(counts) - stage.horizon, (1,)))
            path = model.run(counts[first], stage.horizon)
            loss = (path - counts[first + 1:first + 1 + stage.horizon]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"horizon {stage.horizon:3d}: loss {loss.item():.4f} growth {model.growth.item():.3f} capacity {model.capacity.item():.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
