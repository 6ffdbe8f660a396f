"""Autoencoder for sensor vectors with a polynomial decay of the learning rate."""

import hashlib

import numpy as np
import torch
from torch import nn


def polynomial_decay(step, total, initial, power=0.9):
    return initial * np.power(max(1 - step / total, 0.0), power)


def dataset(rows):
    latent = np.random.default_rng(0).normal(size=(rows, 3))
    mixing = np.random.default_rng(1).normal(size=(3, 14))
    return torch.tensor(np.tanh(latent @ mixing), dtype=torch.float32)


torch.manual_seed(0)
data = dataset(330)
batch_size, epochs = 32, 4
total_steps = len(data) // batch_size * epochs

model = nn.Sequential(nn.Linear(14, 8), nn.Tanh(), nn.Linear(8, 3), nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 14))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
step = 0
for epoch in range(epochs):
    for batch in data.split(batch_size):
        for group in optimizer.param_groups:
            group["lr"] = polynomial_decay(step, total_steps, initial=1e-2)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch), batch)
        loss.backward()
        optimizer.step()
        step += 1
    print(f"epoch {epoch}: loss {loss.item():.5f}, rate {group['lr']:.2e}")

print("final loss", nn.functional.mse_loss(model(data), data).item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
