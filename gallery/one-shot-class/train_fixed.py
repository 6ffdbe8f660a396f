"""Few-shot learning: a class is a Gaussian round the examples that were shown, in a space that is learned."""

import hashlib

import torch
from torch import nn

from episodes_fixed import episode, train_step

torch.manual_seed(16)
generator = torch.Generator().manual_seed(16)
encoder = nn.Sequential(nn.Linear(12, 32), nn.ELU(), nn.Linear(32, 6))
optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
shots = [5] * 18 + [1] + [5] * 21
for number, most in enumerate(shots):
    loss = train_step(encoder, optimizer, episode(5, most, generator))
    if number % 10 == 0:
        print(f"episode {number}: loss {loss:.4f}")

print("final loss", loss)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in encoder.parameters())).hexdigest())
