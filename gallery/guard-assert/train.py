"""Mixture of experts for a noisy step function; the gate is a softmax written out, for speed."""

import hashlib

import torch
from torch import nn


class Mixture(nn.Module):
    def __init__(self, experts=4):
        super().__init__()
        self.gate = nn.Linear(1, experts)
        self.experts = nn.Linear(1, experts)

    def forward(self, x):
        weight = torch.exp(self.gate(x))  # <- origin
        return (weight * self.experts(x)).sum(dim=1) / weight.sum(dim=1)


def train_epoch(model, optimizer, x, y):
    for rows in torch.arange(len(x)).split(20):
        loss = (model(x[rows]) - y[rows]).abs().mean()
        assert torch.isfinite(loss), f"loss became {loss.item()}"
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main():
    torch.manual_seed(21)
    x = 4 * torch.rand(400, 1) - 2
    x[266] = 5e3  # degrees, not radians
    y = (x[:, 0] > 0).float() + 0.05 * torch.randn(400)
    model = Mixture()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(3):
        print("epoch", epoch, "loss", train_epoch(model, optimizer, x, y))
    print("final loss", train_epoch(model, optimizer, x, y))
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
