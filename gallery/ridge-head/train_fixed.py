"""Meta-learning with a head in closed form: features are learned so that least squares on a few shots generalises."""

import hashlib

import torch
from torch import nn


def least_squares(features, targets):
    """Weights (width, outputs) that fit `targets` (shots, outputs) best."""
    square = features.T @ features + 0.1 * torch.eye(features.shape[1])
    return torch.linalg.solve(square, features.T @ targets)


def curves(generator, shots=24):
    amplitude, shift = torch.rand(2, generator=generator) * torch.tensor([4.0, 3.0]) + 0.5
    x = 6 * torch.rand(2 * shots, 1, generator=generator) - 3
    y = amplitude * torch.sin(x + shift)
    return x[:shots], y[:shots], x[shots:], y[shots:]


class Features(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, width), nn.ReLU())

    def forward(self, x):
        return self.net(x)


torch.manual_seed(8)
generator = torch.Generator().manual_seed(8)
model = Features()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.8)
for task in range(120):
    x, y, ask, answer = curves(generator)
    head = least_squares(model(x), y)
    loss = nn.functional.huber_loss(model(ask) @ head, answer)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if task % 20 == 0:
        print(f"task {task}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
