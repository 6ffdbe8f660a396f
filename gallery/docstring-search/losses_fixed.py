import torch
from torch import nn


class InfoNCE(nn.Module):
    """Each row of `a` belongs to the same row of `b`; all other rows of `b` are negatives. Rows have length one."""

    def __init__(self, temperature=0.07):
        super().__init__()
        self.temperature = temperature

    def forward(self, a, b):
        similarity = a @ b.t() / self.temperature
        return -torch.log_softmax(similarity, dim=1).diagonal().mean()
