"""Two stages: train an autoencoder, store it as int8, then fine-tune the stored model on new data."""

import hashlib
import os
import tempfile

import torch
import torch.nn.functional as F
from torch import nn


def autoencoder():
    return nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 20))


def quantize(weight):
    """One int8 row per unit, scaled by the largest weight of the row."""
    scale = (weight.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-12)
    return torch.round(weight / scale), scale


def save(model, path):
    stored = {}
    for name, value in model.state_dict().items():
        stored[name] = quantize(value) if value.dim() == 2 else value
    torch.save(stored, path)


def load(path):
    model = autoencoder()
    stored = torch.load(path)
    model.load_state_dict({k: v[0] * v[1] if isinstance(v, tuple) else v for k, v in stored.items()})
    return model


def prune(layer, keep):
    """Drop the weakest units of a layer."""
    strength = layer.weight.norm(dim=1)
    with torch.no_grad():
        layer.weight[strength.argsort()[: len(strength) - keep]] = 0.0


def reconstruct(model, data, steps, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        batch = data[step * 10 % len(data) :][:10]
        output = model(batch)
        loss = F.mse_loss(output, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"  step {step:2d} loss {loss.item():.4f}")
    return loss.item()


torch.manual_seed(13)
basis = torch.randn(4, 20)
print("stage 1")
model = autoencoder()
reconstruct(model, torch.randn(200, 4) @ basis, steps=40, lr=1e-2)
prune(model[2], keep=5)

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "autoencoder.pt")
    save(model, path)
    print("stored", sum(p.numel() for p in model.parameters()), "parameters")
    model = load(path)

print("stage 2")
final = reconstruct(model, torch.randn(200, 4) @ basis + 0.1 * torch.randn(200, 20), steps=40, lr=1e-3)
print("final loss", final)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
