import torch
from torch import nn


class InfoNCE(nn.Module):
    """Each row of `a` belongs to the same row of `b`; all other rows of `b` are negatives. Rows have length one."""

    def __init__(self, temperature=0.07):
        super().__init__()
        self.temperature = temperature

    def forward(self, a, b):
        similarity = a @ b.t() / self.temperature
        weight = torch.exp(similarity)  # <- origin
        share = weight.diagonal() / weight.sum(dim=1)
        return -torch.log(share + 1e-12).mean()
