"""Bayesian personalised ranking: a user's item is to score above one that was not chosen."""
import hashlib

import torch
from torch import nn


class Ranker(nn.Module):
    def __init__(self, users, items, k=16):
        super().__init__()
        self.u, self.v = nn.Embedding(users, k), nn.Embedding(items, k)
        nn.init.normal_(self.u.weight, std=6.0)
        nn.init.normal_(self.v.weight, std=6.0)

    def forward(self, user, item):
        return (self.u(user) * self.v(item)).sum(1)


def bpr(good, bad):
    return -nn.functional.logsigmoid(good - bad).mean()


class Sampler:
    def __init__(self, users, items, seed):
        self.g = torch.Generator().manual_seed(seed)
        self.users, self.items = users, items

    def __iter__(self):
        for _ in range(60):
            user = torch.randint(self.users, (32,), generator=self.g)
            yield user, (user * 7) % self.items, torch.randint(self.items, (32,), generator=self.g)


torch.manual_seed(0)
model = Ranker(50, 40)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for user, good, bad in Sampler(50, 40, 0):
    loss = bpr(model(user, good), model(user, bad))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
