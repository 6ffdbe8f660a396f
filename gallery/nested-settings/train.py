"""Quality of a wine from its chemistry; every setting stands in a dataclass, and what differs from the defaults is told in main."""
import hashlib
from dataclasses import dataclass, field

import torch
from sklearn.datasets import load_wine
from torch import nn


@dataclass(frozen=True)
class Descent:
    rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = True


@dataclass(frozen=True)
class Run:
    descent: Descent = field(default_factory=Descent)
    width: int = 48
    updates: int = 90
    seed: int = 4


def optimizer_for(net, descent):
    return torch.optim.SGD(net.parameters(), lr=descent.rate, momentum=descent.momentum, nesterov=descent.nesterov)


def train(run):
    torch.manual_seed(run.seed)
    wine = load_wine()
    table = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    inputs, alcohol = table[:, 1:], table[:, 0]
    net = nn.Sequential(nn.Linear(12, run.width), nn.ReLU(), nn.Linear(run.width, run.width), nn.ReLU(), nn.Linear(run.width, 1))
    optimizer = optimizer_for(net, run.descent)
    for update in range(run.updates):
        rows = torch.randint(len(inputs), (24,))
        error = net(inputs[rows]).squeeze(1) - alcohol[rows]
        loss = error.square().mean()  # <- origin
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 15 == 0:
            print(f"update {update}: {loss.item():.4f}")
    return net


if __name__ == "__main__":
    net = train(Run(descent=Descent(rate=1.5)))  # <- fault
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
