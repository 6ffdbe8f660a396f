import re
import zlib

import torch
from torch import nn

STOP = set("how can a an the is are do does did i my of to in on it please".split())


def tokens(question, buckets=800):
    words = [w for w in re.findall(r"[a-z]+", question.lower()) if w not in STOP]
    return [zlib.crc32(w.encode()) % buckets for w in words]


class Siamese(nn.Module):
    """Two questions, one encoder, and how far apart they end."""

    def __init__(self, buckets=800, width=32, p=1.5):
        super().__init__()
        self.table = nn.EmbeddingBag(buckets, width, mode="sum")
        self.mix = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))
        self.p = p

    def encode(self, questions):
        bags = [tokens(q) for q in questions]
        starts = torch.tensor([0] + [len(b) for b in bags[:-1]]).cumsum(0)
        return self.mix(self.table(torch.tensor(sum(bags, [])), starts))

    def forward(self, left, right):
        gap = (self.encode(left) - self.encode(right)).abs()
        return (gap.pow(self.p).sum(1) + 1e-9).pow(1 / self.p)
