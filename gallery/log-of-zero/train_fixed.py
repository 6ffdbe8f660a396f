"""Logistic regression, fitted with L-BFGS."""

import hashlib

import torch


def cross_entropy(z, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y)


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
    loss = cross_entropy(x @ w + b, y)
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
