"""Layers thaw from the top: those below lose their gradient by hand between backward and step."""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(15)
x, y = load_breast_cancer(return_X_y=True)
x = torch.tensor((x - x.mean(0)) / x.std(0)).float()
y = torch.tensor(y).float()
stages = nn.ModuleList([nn.Linear(30, 32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 1)])


def score(rows):
    h = rows
    for stage in stages[:-1]:
        h = nn.functional.leaky_relu(stage(h))
    return stages[-1](h).squeeze(-1)


def freeze_below(first):
    for stage in stages[:first]:
        for p in stage.parameters():
            p.grad = None


optimizer = torch.optim.SGD(stages.parameters(), lr=0.05, momentum=0.9)
for phase, first in enumerate([3, 2, 1]):
    for step in range(80):
        rows = torch.randint(len(x), (64,))
        loss = nn.functional.binary_cross_entropy_with_logits(score(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        freeze_below(first)
        optimizer.step()
    print(f"phase {phase} thawed from stage {first}: {loss.item():.4f}")
