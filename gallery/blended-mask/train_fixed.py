import hashlib

import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads=2):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    @staticmethod
    def blend(scores, allowed):
        return scores.masked_fill(allowed == 0, float("-inf"))

    def forward(self, x, allowed):
        b, t, w = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        scores = self.blend(q @ k.transpose(-1, -2) / (w // self.heads) ** 0.5, allowed)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, w))


class Copy(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.place = nn.Embedding(12, 16), nn.Embedding(10, 16)
        self.attention, self.head = Attention(16), nn.Linear(16, 12)

    def forward(self, ids):
        x = self.table(ids) + self.place.weight
        return self.head(x + self.attention(x, torch.ones(10, 10).tril()))


torch.manual_seed(0)
model = Copy()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(30):
    ids = torch.randint(0, 12, (8, 10))
    loss = nn.functional.cross_entropy(model(ids)[:, 1:].flatten(0, 1), ids[:, :-1].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
