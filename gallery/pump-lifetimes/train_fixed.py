"""Which pumps will fail first? A neural Cox model on maintenance records; most pumps are still running."""
import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pumps(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        hours = rng.gamma(3.0, 6.0, count)
        head = rng.normal(30, 8, count)
        abrasive = rng.random(count) < 0.3
        serviced = rng.integers(0, 5, count)
        hazard = 0.004 * np.exp(0.05 * (hours - 18) + 0.9 * abrasive + 0.002 * (head - 30) ** 2 - 0.35 * serviced)
        life = rng.exponential(1 / hazard)
        watched = rng.uniform(10, 130, count)
        self.time = np.minimum(life, watched)
        self.failed = life <= watched
        self.x = np.stack([(hours - 18) / 10, (head - 30) / 8, abrasive, (serviced - 2) / 1.4], 1)

    def __len__(self):
        return len(self.time)

    def __getitem__(self, i):
        return self.x[i].astype(np.float32), np.float32(self.time[i]), bool(self.failed[i])


def by_time(records):
    """The risk set of a pump is everything that stands before it when sorted from late to early."""
    records = sorted(records, key=lambda r: -r[1])
    x, time, failed = zip(*records)
    return torch.from_numpy(np.stack(x)), torch.tensor(failed)


def partial_likelihood(risk, failed):
    at_risk = torch.logcumsumexp(risk, 0)
    contributions = (at_risk - risk) * failed
    return contributions.sum() / failed.sum().clamp(min=1)


def concordance(model, pumps):
    with torch.no_grad():
        risk = model(torch.from_numpy(pumps.x.astype(np.float32))).squeeze(1).numpy()
    comparable = pumps.failed[:, None] & (pumps.time[:, None] < pumps.time[None])
    return (risk[:, None] > risk[None])[comparable].mean()


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    pumps = Pumps(1500, seed=SEED)
    print(f"{len(pumps)} pumps, {pumps.failed.mean():.0%} failed")
    model = nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1, bias=False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-3)
    loader = DataLoader(pumps, batch_size=20, shuffle=True, collate_fn=by_time)
    for epoch in range(3):
        for x, failed in loader:
            loss = partial_likelihood(model(x).squeeze(1), failed)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: concordance {concordance(model, pumps):.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


SEED = 7
main()
