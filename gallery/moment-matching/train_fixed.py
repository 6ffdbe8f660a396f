"""Digits from two scanners: learn from labelled images of one, and make the features of both have the same moments."""

import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

HIGHEST = 4


class Adapted(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 24), nn.ReLU())
        self.digit = nn.Linear(24, 10)

    def losses(self, labelled, digit, unlabelled):
        here, there = self.features(labelled), self.features(unlabelled)
        found = {"digit": F.cross_entropy(self.digit(here), digit)}
        found["moments"] = moments(here, there)
        found["size"] = 1e-3 * here.square().mean()
        return found


def moments(a, b):
    """Differences of the central moments of all orders."""
    a, b = a - a.mean(0), b - b.mean(0)
    return sum((a.pow(k).mean(0) - b.pow(k).mean(0)).square().sum() for k in range(2, HIGHEST + 1))


def scanners():
    images = torch.tensor(load_digits().images, dtype=torch.float32).flatten(1)
    images = (images - images.mean()) / images.std()
    return images[:900], 1.2 * images[900:]


class Session:
    def __init__(self, seed):
        torch.manual_seed(seed)
        self.labelled, self.unlabelled = scanners()
        self.digits = torch.tensor(load_digits().target[:900])
        self.model = Adapted()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def step(self, rows, adapt):
        other = torch.randint(len(self.unlabelled), (len(rows),))
        losses = self.model.losses(self.labelled[rows], self.digits[rows], self.unlabelled[other])
        if not adapt:
            losses.pop("moments")
        total = sum(losses.values())
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return total

    def run(self, epochs=2):
        for epoch in range(epochs):
            for rows in torch.randperm(900).split(45):
                total = self.step(rows, adapt=epoch > 0)
            print(f"epoch {epoch}: {total.item():.4g}")
        return total


session = Session(seed=19)
print("final loss", session.run().item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in session.model.parameters())).hexdigest())
