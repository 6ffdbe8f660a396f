"""Session recommender: the next item by cosine similarity, in-batch negatives. New items join the catalogue later on."""
import hashlib

import torch
import torch.nn.functional as F
from torch import nn


class Catalogue(nn.Module):
    def __init__(self, items, width):
        super().__init__()
        self.table = nn.Embedding(items, width)

    def add(self, count):
        old = self.table.weight.data
        self.table = nn.Embedding.from_pretrained(torch.cat([old, old.new_zeros(count, old.shape[1])]), freeze=False)  # <- fault

    def forward(self, item):
        return F.normalize(self.table(item), dim=-1)  # <- origin  # <- fault


class Recommender(nn.Module):
    def __init__(self, items, width=24):
        super().__init__()
        self.catalogue = Catalogue(items, width)
        self.taste = nn.GRUCell(width, width)

    def forward(self, session):
        state = None
        for item in self.catalogue(session).unbind(1):
            state = self.taste(item, state)
        return F.normalize(state, dim=-1)


def sessions(n, items, length, groups=10):
    group = torch.randint(groups, (n, 1))
    inside = torch.randint(items // groups, (n, length)) * groups + group
    return torch.where(torch.rand(n, length) < 0.1, torch.randint(items, (n, length)), inside)


def phase(model, items, updates, label):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for update in range(updates):
        seen = sessions(48, items, 5)
        score = model(seen[:, :4]) @ model.catalogue(seen[:, 4]).T / 0.2
        loss = F.cross_entropy(score, torch.arange(len(score)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if update % 40 == 0:
            print(f"{label} {update}: {loss.item():.4f}")


torch.manual_seed(16)
model = Recommender(items=300)
phase(model, 300, 200, "launch")
model.catalogue.add(20)
phase(model, 320, 120, "spring")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
