"""Regression on diabetes records; hidden features are standardised when the model is used, by statistics measured once."""

import hashlib

import torch
from sklearn.datasets import load_diabetes
from torch import nn


class Standardise(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    @torch.no_grad()
    def measure(self, hidden):
        self.centre.copy_(hidden.mean(dim=0))
        self.spread.copy_(hidden.std(dim=0))  # <- fault

    def forward(self, hidden):
        if self.training:
            return (hidden - hidden.mean(dim=0)) / (hidden.std(dim=0) + 1e-5)
        return (hidden - self.centre) / self.spread  # <- origin


class Regressor(nn.Module):
    def __init__(self, features, width=24):
        super().__init__()
        self.inner = nn.Linear(features, width)
        self.scale = Standardise(width)
        self.outer = nn.Linear(width, 1)

    def forward(self, x):
        return self.outer(torch.tanh(self.scale(self.inner(x)))).squeeze(1)


def validate(model, x, y):
    model.eval()
    with torch.inference_mode():
        error = (model(x) - y).abs().mean()
    model.train()
    return error


torch.manual_seed(5)
data = load_diabetes()
x = torch.tensor(data.data, dtype=torch.float32) * 20
y = torch.tensor(data.target, dtype=torch.float32) / 100
train, valid = slice(0, 352), slice(352, None)

model = Regressor(x.shape[1])
patients = x[train].split(351)[-1]
model.scale.measure(model.inner(patients))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(4):
    for rows in torch.randperm(352).split(44):
        loss = nn.functional.smooth_l1_loss(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: training loss {loss.item():.4f}, validation error {validate(model, x[valid], y[valid]).item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
