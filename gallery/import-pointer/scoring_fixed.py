"""Pointer network over the tokens of a line: which token is the one that is imported?"""
import torch
import torch.nn.functional as F
from torch import nn


class Pointer(nn.Module):
    def __init__(self, symbols, width):
        super().__init__()
        self.letters = nn.EmbeddingBag(symbols, width, padding_idx=0, mode="mean")
        self.reader = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.query = nn.Parameter(torch.randn(2 * width) * 0.1)

    def forward(self, tokens, present):
        batch, length, letters = tokens.shape
        words = self.letters(tokens.reshape(batch * length, letters)).reshape(batch, length, -1)
        states, _ = self.reader(words)
        scores = torch.tanh(states) @ self.query
        return scores.masked_fill(~present, float("-inf"))


def pointer_loss(scores, answer, warmth):
    """Negative log-likelihood, minus an entropy bonus that keeps the pointer from settling too early."""
    logp = F.log_softmax(scores, dim=1)
    nll = F.nll_loss(logp, answer)
    if warmth == 0:
        return nll
    entropy = -(logp.exp() * logp.masked_fill(logp.isinf(), 0.0)).sum(dim=1)
    return nll - warmth * entropy.mean()
