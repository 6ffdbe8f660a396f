"""Brightness of stars in float16. Magnitudes and fluxes span ten powers of ten: what does is computed in float32."""

import hashlib

import torch
from torch import nn


class Photometry(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(6, 48)
        self.read = nn.Linear(48, 2)

    def forward(self, flux):
        with torch.autocast("cpu", enabled=False):
            logarithm = flux.float().clamp_min(1e-12).log10()
            spread = logarithm.var(dim=1, keepdim=True, unbiased=False)
            features = (logarithm - logarithm.mean(dim=1, keepdim=True)) * torch.rsqrt(spread + 1e-8)
        hidden = torch.relu(self.mix(features))
        centre, width = self.read(hidden).float().unbind(dim=1)
        return centre, nn.functional.softplus(width) + 1e-3


def stars(count, generator):
    temperature = torch.rand(count, generator=generator)
    bands = torch.linspace(0, 1, 6)
    colour = -((bands - temperature[:, None]) ** 2) * 12
    distance = torch.rand(count, 1, generator=generator) * 8
    return 10 ** (colour - distance), temperature


if __name__ == "__main__":
    torch.manual_seed(1)
    flux, temperature = stars(600, torch.Generator().manual_seed(2))
    model = Photometry()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scaler = torch.amp.GradScaler("cpu")
    for epoch in range(3):
        for rows in torch.arange(600).split(40):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                centre, width = model(flux[rows])
            loss = nn.functional.gaussian_nll_loss(centre, temperature[rows], width**2)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        print(f"epoch {epoch} loss {loss.item():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
