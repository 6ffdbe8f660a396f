import torch
from torch import nn


class Tower(nn.Module):
    """Hashed character trigrams of a line -> a stack of hidden layers -> one score per kind of line."""

    def __init__(self, buckets, kinds, width=48, depth=16):
        super().__init__()
        self.first = nn.Linear(buckets, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, kinds)

    def forward(self, grams):
        h = torch.relu(self.first(grams))
        for layer in self.hidden:
            h = h + torch.relu(layer(h))
        return self.last(h)
