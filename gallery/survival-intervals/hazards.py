import torch
from torch import nn


class DiscreteSurvival(nn.Module):
    """Negative log-likelihood of (time, died) under hazards given as logits (patients, intervals) of `width` years."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, logits, time, died):
        interval = (time / self.width).long()  # <- fault
        dies, lives = nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
        survived = nn.functional.pad(lives.cumsum(dim=1), (1, 0))
        before = survived.gather(1, interval[:, None]).squeeze(1)
        here = torch.where(died[:, None], dies, lives).gather(1, interval[:, None]).squeeze(1)  # <- origin
        return -(before + here).mean()
