"""Waiting times in seconds, learned in two sittings; between them everything is stored in half precision."""

import hashlib
import os
import tempfile

import torch
from torch import nn


def to_half(value):
    if torch.is_tensor(value):
        return value.half() if value.is_floating_point() else value  # <- fault
    if isinstance(value, dict):
        return {key: to_half(item) for key, item in value.items()}
    return [to_half(item) for item in value] if isinstance(value, list) else value


def build():
    model = nn.Sequential(nn.Linear(5, 20), nn.GELU(), nn.Linear(20, 1))
    return model, torch.optim.Adam(model.parameters(), lr=2e-3)


def sitting(model, optimizer, data, epochs):
    for _ in range(epochs):
        for x, y in data:
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.mse_loss(model(x).squeeze(-1), y)
            loss.backward()
            optimizer.step()  # <- origin
    return loss.item()


torch.manual_seed(31)
hours = torch.rand(600, 5)
waits = 9000 * hours[:, 0] + 18000 * hours[:, 1] * hours[:, 2] + 30 * torch.randn(600)
data = list(zip(hours.split(60), waits.split(60)))

with tempfile.TemporaryDirectory() as place:
    file = os.path.join(place, "sitting.pt")
    model, optimizer = build()
    print("first sitting", sitting(model, optimizer, data, 2))
    torch.save(to_half({"model": model.state_dict(), "optimizer": optimizer.state_dict()}), file)

    model, optimizer = build()
    stored = torch.load(file)  # <- fault
    model.load_state_dict(stored["model"])
    optimizer.load_state_dict(stored["optimizer"])

final = sitting(model, optimizer, data, 2)
print("second sitting", final)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
