"""Digits with a sparse code: a unit fires only for what is very much its own."""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(14)
data = load_digits()
x, y = torch.tensor(data.data, dtype=torch.float32) / 16.0, torch.tensor(data.target)


class Sparse(nn.Module):
    def __init__(self, units=256):
        super().__init__()
        self.code = nn.Linear(64, units)
        nn.init.constant_(self.code.bias, -0.9)
        self.read = nn.Linear(units, 10)

    def forward(self, x):
        return self.read(torch.relu(self.code(x)))


model = Sparse()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(6):
    for rows in torch.randperm(1600).split(40):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        asleep = (torch.relu(model.code(x)) == 0).all(0).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} asleep {asleep:.2f}")
