import math
import torch

NAMES = ["horizontal", "vertical", "diagonal", "checked"]


def cloth(n, size=28, generator=None):
    kind = torch.arange(n) % 4
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    f = torch.empty(n, 1, 1).uniform_(0.1, 0.16, generator=generator) * 2 * math.pi
    phase = torch.empty(n, 1, 1).uniform_(0, 6.28, generator=generator)
    waves = [torch.sin(f * yy + phase), torch.sin(f * xx + phase), torch.sin(f * (xx + yy) + phase),
             torch.sin(f * yy + phase) * torch.sin(f * xx + phase)]
    pictures = torch.stack(waves)[kind, torch.arange(n)]
    pictures = 0.5 + 0.35 * pictures + 0.08 * torch.randn(n, size, size, generator=generator)
    return pictures.unsqueeze(1), kind
