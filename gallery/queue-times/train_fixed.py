"""Waiting times at a counter from the people before it, in half precision on a small board."""

import hashlib

import torch
from torch import nn

WIDTH, STEPS = 20, 90


def counter(people, generator):
    """Service times of those who wait, and how long the next one will."""
    service = torch.rand(people, 10, generator=generator)
    return service, service.sum(dim=1, keepdim=True)


def build():
    return nn.Sequential(nn.Linear(10, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)).half()


def learn(model, generator):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-4)
    crowd = 16
    for step in range(STEPS):
        if step % 10 == 9:
            crowd *= 2  # it is noisy: average over more people
        service, waited = counter(crowd, generator)
        missed = model(service.half()).float() - waited
        loss = missed.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step:2d} of {crowd:4d} people, error {loss.item():.3f}")


torch.manual_seed(6)
model = build()
learn(model, torch.Generator().manual_seed(6))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
