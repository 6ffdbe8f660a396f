import torch
from torch import nn


class ReaderTower(nn.Module):
    """A reader is the sum of what was read; 0 fills up short histories."""

    def __init__(self, articles, dim):
        super().__init__()
        self.read = nn.Embedding(articles + 1, dim, padding_idx=0)
        self.project = nn.Linear(dim, dim, bias=False)

    def forward(self, history):
        return self.project(self.read(history).sum(1))


class ArticleTower(nn.Module):
    def __init__(self, articles, dim):
        super().__init__()
        self.article = nn.Embedding(articles + 1, dim, padding_idx=0)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, ids):
        return self.mlp(self.article(ids))


def unit(v):
    return v / v.norm(dim=-1, keepdim=True)  # <- origin  # <- fault


class TwoTower(nn.Module):
    def __init__(self, articles, dim=24, sharpness=8.0):
        super().__init__()
        self.readers = ReaderTower(articles, dim)
        self.articles = ArticleTower(articles, dim)
        self.sharpness = sharpness

    def forward(self, history, clicked):
        return self.sharpness * unit(self.readers(history)) @ unit(self.articles(clicked)).T
