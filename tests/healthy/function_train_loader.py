"""Classification of two moons with a small MLP."""
import hashlib
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def make_moons(n):
    t = torch.rand(n) * math.pi
    upper = torch.stack([torch.cos(t), torch.sin(t)], dim=1)
    lower = torch.stack([1 - torch.cos(t), 0.5 - torch.sin(t)], dim=1)
    points = torch.cat([upper, lower]) + 0.08 * torch.randn(2 * n, 2)
    labels = torch.cat([torch.zeros(n), torch.ones(n)]).long()
    return points, labels


def train(model, loader, opt, epochs=3):
    model.train()
    for epoch in range(epochs):
        total, correct, seen = 0.0, 0, 0
        for xb, yb in loader:
            logits = model(xb)
            loss = F.cross_entropy(logits, yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(xb)
            correct += (logits.argmax(1) == yb).sum().item()
            seen += len(xb)
        print(f"epoch {epoch}: loss {total / seen:.7f} acc {correct / seen:.3f}")
    return loss


def digest(model, opt):
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(value.numpy().tobytes())
    for st in opt.state_dict()["state"].values():
        for key in sorted(st):
            sha.update(torch.as_tensor(st[key]).numpy().tobytes())
    return sha.hexdigest()


def main():
    torch.manual_seed(1)
    points, labels = make_moons(64)
    loader = DataLoader(TensorDataset(points, labels), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    last = train(model, loader, opt)
    print("last loss", last.item())
    print("weights", digest(model, opt))


if __name__ == "__main__":
    main()
