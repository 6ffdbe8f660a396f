import torch
from torch import nn


class PatchNorm(nn.Module):
    """Brings every patch of every channel to zero mean and unit contrast, as the fp16 kernel on the scanner does."""

    def __init__(self, channels, eps=1e-8):  # <- fault
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.eps = eps

    def forward(self, x):
        x = x.half()  # <- fault
        centred = x - x.mean((2, 3), keepdim=True)
        contrast = centred.abs().mean((2, 3), keepdim=True)
        x = centred / (contrast + self.eps)  # <- origin
        return x.float() * self.weight + self.bias


class Focus(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.norm = PatchNorm(1)
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(width, width, 3), nn.SiLU(),
        )
        self.head = nn.Linear(2 * width, 1)

    def forward(self, x):
        h = self.body(self.norm(x))
        return self.head(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1)).squeeze(1)
