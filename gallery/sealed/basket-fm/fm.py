import torch
from torch import nn


class FactorizationMachine(nn.Module):
    """Second-order factorization machine over a bag of articles (Rendle 2010)."""

    def __init__(self, n_articles, rank):
        super().__init__()
        self.first = nn.Linear(n_articles, 1)
        self.factors = nn.Parameter(torch.empty(n_articles, rank).normal_(0.05, 0.3))
        self.scale = nn.Parameter(torch.tensor(0.01))

    def forward(self, counts):
        s = counts @ self.factors
        q = (counts * counts) @ (self.factors * self.factors)
        pairs = s * s - q  # <- origin
        crossed = torch.sign(pairs) * torch.log1p(pairs.abs())
        return self.first(torch.log1p(counts)).squeeze(1) + self.scale * crossed.sum(1)
