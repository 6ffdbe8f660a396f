"""One trunk, three tasks on the wine table: cultivar, alcohol, and a penalty that keeps the trunk small."""
import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from torch import nn


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(12, 64), nn.ELU(), nn.Linear(64, 64))
        self.kind = nn.Linear(64, 3)
        self.alcohol = nn.Linear(64, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.kind(h), self.alcohol(h).squeeze(1), h


class Losses:
    def __init__(self, weights):
        self.weights = weights

    def terms(self, model, x, kind, alcohol):
        scores, value, h = model(x)
        yield "kind", F.cross_entropy(scores, kind)
        yield "alcohol", F.mse_loss(value, alcohol)  # <- origin
        yield "small", h.pow(4).sum()  # <- fault

    def __call__(self, model, *batch):
        return sum(self.weights[name] * term for name, term in self.terms(model, *batch))  # <- fault


torch.manual_seed(0)
table = torch.tensor(load_wine().data, dtype=torch.float32)
table = (table - table.mean(0)) / table.std(0)
kinds = torch.tensor(load_wine().target)
losses = Losses({"kind": 1.0, "alcohol": 1.0, "small": 1.0})
model = MultiTask()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for step in range(60):
    rows = torch.randperm(178)[:64]
    loss = losses(model, table[rows, 1:], kinds[rows], table[rows, 0])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
