"""Chlorophyll from leaf reflectance; the spectra are kept in float16 to fit on the field device."""
import hashlib

import torch
from torch import nn


class SpectralBank:
    def __init__(self, leaves=256, bands=40, seed=12):
        g = torch.Generator().manual_seed(seed)
        self.content = torch.rand(leaves, generator=g)
        wave = torch.linspace(0, 1, bands)
        dip = torch.exp(-((wave - 0.4) ** 2) / 0.01)
        spectra = 0.4 - 0.25 * self.content[:, None] * dip + 0.01 * torch.randn(leaves, bands, generator=g)
        shade = torch.ones(leaves, 1)
        shade[171] = 2.5e-4
        self.spectra = (spectra * shade).half()

    def batches(self, size, epochs):
        for _ in range(epochs):
            for rows in torch.randperm(len(self.content)).split(size):
                yield self.spectra[rows], self.content[rows]


def unit_energy(spectra):
    energy = spectra.square().mean(dim=1, keepdim=True)
    return spectra * energy.rsqrt()  # <- origin


class ContentModel(nn.Module):
    def __init__(self, bands=40):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(bands, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, spectra):
        return self.layers(unit_energy(spectra).float()).squeeze(1)


def main():
    torch.manual_seed(20)
    bank, model = SpectralBank(), ContentModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for step, (spectra, content) in enumerate(bank.batches(32, 5)):
        loss = nn.functional.mse_loss(model(spectra), content)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 8 == 0:
            print(f"step {step} loss {loss.item():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
