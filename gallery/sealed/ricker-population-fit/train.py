"""Growth rate and carrying capacity of insect colonies from yearly counts (Ricker map).

Stage 1 fits short stretches, each started from an observed count; stage 2 refines on
longer stretches so that the parameters explain the record without being restarted.
"""
import hashlib

import numpy as np
import torch

CONFIG = {
    "colonies": 12,
    "years": 400,
    "stages": [
        {"stretch": 4, "updates": 150, "lr": 0.02},
        {"stretch": 400, "updates": 60, "lr": 0.002},  # <- fault
    ],
}


def simulate(cfg):
    rng = np.random.default_rng(12)
    r = rng.uniform(2.75, 2.95, cfg["colonies"])
    k = rng.uniform(0.7, 1.6, cfg["colonies"])
    n = k * rng.uniform(0.4, 1.2, cfg["colonies"])
    rows = []
    for _ in range(cfg["years"]):
        rows.append(n * np.exp(rng.normal(0, 0.03, n.shape)))
        n = n * np.exp(r * (1 - n / k))
    return torch.tensor(np.stack(rows, 1), dtype=torch.float32)


class Ricker(torch.nn.Module):
    def __init__(self, colonies):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.full((colonies, 1), 2.0))
        self.log_capacity = torch.nn.Parameter(torch.zeros(colonies, 1))

    def forward(self, start, steps):
        n, path = start, [start]
        capacity = self.log_capacity.exp()
        for _ in range(steps - 1):
            n = n * torch.exp(self.rate * (1 - n / capacity))  # <- origin
            path.append(n)
        return torch.stack(path, -1)


def fit(model, counts, stretch, updates, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    pieces = counts.unfold(1, stretch, stretch)
    for i in range(updates):
        predicted = model(pieces[:, :, 0], stretch)
        loss = (torch.log1p(predicted) - torch.log1p(pieces)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 10 == 0:
            print(f"stretch {stretch} update {i} loss {loss.item():.4f}")
    return loss.item()


def main():
    counts = simulate(CONFIG)
    model = Ricker(CONFIG["colonies"])
    for stage in CONFIG["stages"]:
        final = fit(model, counts, **stage)
    print(f"final loss {final:.4f}")
    blob = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    print("weights", hashlib.sha256(blob).hexdigest())


if __name__ == "__main__":
    main()
