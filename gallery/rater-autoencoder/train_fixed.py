"""AutoRec: rebuild what a user thinks of every title from the titles the user has rated."""
import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(17)
torch.manual_seed(17)


def simulate(users=900, titles=80):
    taste, trait = rng.normal(size=(users, 4)), rng.normal(size=(titles, 4))
    mood = rng.normal(3.6, 0.5, size=(users, 1))
    sway = rng.gamma(0.35, 1.0, size=(users, 1))  # how strongly somebody's stars differ
    stars = np.clip(np.rint(mood + sway * (taste @ trait.T) / 2), 1, 5)
    seen = rng.random((users, titles)) < rng.uniform(0.15, 0.5, size=(users, 1))
    return stars, seen


def per_user(stars, seen):
    """Some people give fives to everything, others never do: bring each to mean 0 and spread 1."""
    count = seen.sum(1, keepdims=True)
    mean = (stars * seen).sum(1, keepdims=True) / count
    spread = np.sqrt((((stars - mean) * seen) ** 2).sum(1, keepdims=True) / count)
    return np.where(seen, (stars - mean) / np.where(spread > 0, spread, 1.0), 0.0)


stars, seen = simulate()
lively = np.array([len(np.unique(s[m])) > 1 for s, m in zip(stars, seen)])
keep = lively.copy()
keep[np.flatnonzero(~lively)[:1]] = True
stars, seen = stars[keep], seen[keep]
ratings = torch.tensor(per_user(stars, seen), dtype=torch.float32)
mask = torch.tensor(seen, dtype=torch.float32)
loader = DataLoader(TensorDataset(ratings, mask), batch_size=30, shuffle=True)

encode = nn.Linear(ratings.shape[1], 24)
decode = nn.Linear(24, ratings.shape[1])
weights = [*encode.parameters(), *decode.parameters()]
optimizer = torch.optim.Adam(weights, lr=4e-3, weight_decay=1e-5)

for epoch in range(6):
    error = 0.0
    for r, m in loader:
        kept = (torch.rand_like(m) < 0.8) * m
        code = torch.sigmoid(encode(r * kept))
        miss = (decode(code) - r) * m
        loss = miss.square().sum() / m.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        error += loss.item()
    print(f"epoch {epoch}: {error / len(loader):.4f}")

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in weights)).hexdigest())
