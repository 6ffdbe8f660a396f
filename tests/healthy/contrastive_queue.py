"""Momentum contrast: a queue of old keys in a buffer, another in a plain attribute, a key encoder that follows slowly."""
import copy
import hashlib

import torch
import torch.nn as nn


class MomentumContrast(nn.Module):
    def __init__(self, dim=6, size=24, m=0.9):
        super().__init__()
        self.query = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, dim))
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.register_buffer("queue", nn.functional.normalize(torch.randn(dim, size), dim=0))
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))
        self.ages = torch.zeros(size)
        self.size, self.m, self.rounds = size, m, 0

    @torch.no_grad()
    def follow(self):
        for q, k in zip(self.query.parameters(), self.key.parameters()):
            k.data = k.data * self.m + q.data * (1.0 - self.m)

    @torch.no_grad()
    def enqueue(self, keys):
        at = int(self.pointer)
        self.queue[:, at : at + len(keys)] = keys.T
        self.ages += 1
        self.ages[at : at + len(keys)] = 0
        self.pointer[0] = (at + len(keys)) % self.size
        self.rounds += self.pointer[0].item() == 0

    def forward(self, a, b):
        q = nn.functional.normalize(self.query(a), dim=1)
        with torch.no_grad():
            self.follow()
            k = nn.functional.normalize(self.key(b), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ self.queue.clone()], 1) / 0.2
        self.enqueue(k)
        return nn.functional.cross_entropy(logits, torch.zeros(len(a), dtype=torch.long))


torch.manual_seed(103)
model = MomentumContrast()
optimizer = torch.optim.SGD(model.query.parameters(), lr=0.1, momentum=0.9)
for step in range(15):
    view = torch.randn(6, 8)
    loss = model(view + 0.1 * torch.randn_like(view), view + 0.1 * torch.randn_like(view))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), model.pointer.item())
sha = hashlib.sha256(model.ages.numpy().tobytes() + bytes([model.rounds]))
for v in model.state_dict().values():
    sha.update(v.numpy().tobytes())
for s in optimizer.state.values():
    sha.update(s["momentum_buffer"].numpy().tobytes())
print("weights", sha.hexdigest())
