"""Embed the packages of the standard library in the Poincare disk, so that a tree fits: each near its parent, far from others."""

import hashlib
import sysconfig
from pathlib import Path

import torch

PACKAGES = ["asyncio", "concurrent", "ctypes", "email", "encodings", "html", "http", "importlib", "json", "logging",
            "multiprocessing", "unittest", "urllib", "wsgiref", "xml"]


def tree():
    """Names and the index of each one's parent."""
    folder = Path(sysconfig.get_path("stdlib"))
    names, parents = ["stdlib"], [0]
    for package in PACKAGES:
        names.append(package)
        parents.append(0)
        at = len(names) - 1
        for file in sorted((folder / package).glob("*.py"))[:12]:
            names.append(f"{package}.{file.stem}")
            parents.append(at)
    return names, torch.tensor(parents)


def distance(u, v):
    squared = (u - v).pow(2).sum(-1)
    room = (1 - u.pow(2).sum(-1)) * (1 - v.pow(2).sum(-1))
    return torch.acosh(1 + 2 * squared / room + 1e-6)  # <- origin


def step(points, parents, rate, generator):
    """One step downhill; returns the new points and the loss."""
    child = torch.randint(1, len(points), (64,), generator=generator)
    other = torch.randint(1, len(points), (64, 8), generator=generator)
    near = distance(points[child], points[parents[child]])
    far = distance(points[child][:, None], points[other])
    loss = (near + torch.logsumexp(-far, dim=1)).mean()
    (slope,) = torch.autograd.grad(loss, points)
    with torch.no_grad():
        moved = points - rate * slope
    return moved.requires_grad_(), loss.item()


names, parents = tree()
generator = torch.Generator().manual_seed(0)
points = (0.002 * torch.rand(len(names), 2, generator=generator) - 0.001).requires_grad_()
for number in range(300):
    points, loss = step(points, parents, rate=0.5, generator=generator)
    if number % 30 == 0:
        print(f"step {number}: loss {loss:.4f}, furthest out {points.detach().norm(dim=1).max().item():.4f}")

print("final loss", loss)
print("weights", hashlib.sha256(points.detach().numpy().tobytes()).hexdigest())
