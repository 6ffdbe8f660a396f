"""Logistic regression, fitted with L-BFGS."""

import hashlib

import torch


def sigmoid(z):
    return 1 / (1 + torch.exp(-z))


def cross_entropy(p, y):
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()  # <- origin


def measurements(n=300):
    """Two kinds of tissue, told apart by four measurements."""
    generator = torch.Generator().manual_seed(31)
    malignant = (torch.rand(n, generator=generator) < 0.4).float()
    x = torch.randn(n, 4, generator=generator) + malignant[:, None] * torch.tensor([2.5, 2.0, -1.5, 3.0])
    x[165] *= 8.0
    return x, malignant


x, y = measurements()
w = torch.zeros(4, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.LBFGS([w, b], lr=0.2, max_iter=4)


def closure():
    optimizer.zero_grad()
    loss = cross_entropy(sigmoid(x @ w + b), y)
    loss.backward()
    return loss


for iteration in range(15):
    loss = optimizer.step(closure)
    print(f"iteration {iteration}: {loss.item():.6f}")

with torch.no_grad():
    accuracy = ((x @ w + b > 0) == (y > 0.5)).float().mean().item()
print("accuracy", accuracy)
print("final loss", loss.item())
print("weights", hashlib.sha256(torch.cat([w, b]).detach().numpy().tobytes()).hexdigest())
