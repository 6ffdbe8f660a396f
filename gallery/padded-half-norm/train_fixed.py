"""Character model with its own RMS normalisation, in half precision; short lines are padded with zero vectors."""
import hashlib

import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, width, eps=1e-3):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        power = x.square().mean(-1, keepdim=True)
        return x * torch.rsqrt(power + self.eps) * self.gain.to(x.dtype)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = RMSNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x).float())))


class Model(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.table = nn.Embedding(128, width, padding_idx=0)
        self.mix = nn.Conv1d(width, width, 3, padding=2, bias=False)
        self.norm, self.block, self.out = RMSNorm(width), Block(width), nn.Linear(width, 128)

    def forward(self, ids):
        h = self.mix(self.table(ids).transpose(1, 2))[..., :-2].transpose(1, 2)
        return self.out(self.block(self.norm(h.half()).float()))


torch.manual_seed(0)
g = torch.Generator().manual_seed(2)
lines = ["".join(chr(97 + int(c)) for c in torch.randint(0, 9, (20 + i % 17,), generator=g)) for i in range(192)]
model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for step in range(12):
    batch = lines[step * 16 : step * 16 + 16]
    width = max(map(len, batch)) if step > 3 else 20  # longer lines follow once it has begun to learn
    ids = torch.tensor([[min(ord(c), 127) for c in line[:width].ljust(width, " " if step < 4 else "\0")] for line in batch])
    loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
