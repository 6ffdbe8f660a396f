"""A small GAN on handwritten zeros, with the minibatch-deviation layer of Karras et al. (2018) in the discriminator."""
import argparse
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset


class MinibatchStdDev(nn.Module):
    """Appends to each sample how much the batch varies."""

    def forward(self, x):
        spread = x.std(dim=0)
        return torch.cat([x, spread.mean().expand(len(x), 1)], dim=1)


class Generator(nn.Sequential):
    def __init__(self, z_dim):
        super().__init__(nn.Linear(z_dim, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Sigmoid())


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 32), nn.LeakyReLU(0.2))
        self.deviation = MinibatchStdDev()
        self.verdict = nn.Linear(33, 1)

    def forward(self, image):
        return self.verdict(self.deviation(self.features(image)))


def d_loss(D, real, fake):
    return F.softplus(-D(real)).mean() + F.softplus(D(fake.detach())).mean()


def g_loss(D, fake):
    return F.softplus(-D(fake)).mean()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--batch-size", type=int, default=16)
    p.add_argument("--z-dim", type=int, default=10)
    a = p.parse_args()
    torch.manual_seed(2018)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    zeros_and_ones = [i for i, d in enumerate(digits.target) if d in (0, 1)]
    data = Subset(TensorDataset(images), zeros_and_ones[:353])
    loader = DataLoader(data, batch_size=a.batch_size, shuffle=True, drop_last=True)
    G, D = Generator(a.z_dim), Discriminator()
    opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.99))
    opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.99))
    for epoch in range(a.epochs):
        for i, (real,) in enumerate(loader):
            fake = G(torch.randn(len(real), a.z_dim))
            opt_d.zero_grad()
            ld = d_loss(D, real, fake)
            ld.backward()
            opt_d.step()

            opt_g.zero_grad()
            lg = g_loss(D, fake)
            lg.backward()
            opt_g.step()
            if i % 7 == 0:
                print(f"{epoch}/{i}: D {ld.item():.3f} G {lg.item():.3f}")
    print("weights", hashlib.sha256(b"".join(q.detach().numpy().tobytes() for q in G.parameters())).hexdigest())


if __name__ == "__main__":
    main()
