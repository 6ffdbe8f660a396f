"""Nearest neighbours from a memory bank: rows not written yet hold NaN, so that nobody takes them for answers."""

import hashlib

import torch
from torch import nn


class Memory(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        self.register_buffer("keys", torch.full((rows, width), float("nan")))
        self.register_buffer("values", torch.full((rows,), float("nan")))
        self.next = 0

    @torch.no_grad()
    def write(self, keys, values):
        place = (self.next + torch.arange(len(keys))) % len(self.keys)
        self.keys[place], self.values[place] = keys, values
        self.next += len(keys)

    def read(self, queries):
        filled = ~self.keys.isnan().any(dim=1)
        if not filled.any():
            return torch.zeros(len(queries))
        distance = torch.cdist(queries, self.keys[filled])
        return self.values[filled][distance.argmin(dim=1)]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(8, 4)
        self.memory = Memory(2000, 4)
        self.head = nn.Linear(5, 1)

    def forward(self, x):
        code = torch.tanh(self.encode(x))
        return self.head(torch.cat([code, self.memory.read(code.detach()).unsqueeze(1)], dim=1)).squeeze(1)


torch.manual_seed(0)
model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(70):
    x = torch.randn(16, 8)
    y = x[:, 0] * x[:, 1] + x[:, 2]
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.memory.write(torch.tanh(model.encode(x)), y)

torch.save(model.state_dict(), __import__("io").BytesIO())
print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
