"""VAE for the 8x8 digits whose decoder has a learned precision for each pixel."""
import argparse
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class VAE(nn.Module):
    def __init__(self, pixels=64, hidden=64, latent=6):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU())
        self.to_mu = nn.Linear(hidden, latent)
        self.to_logvar = nn.Linear(hidden, latent)
        # ink is never negative
        self.dec = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.ReLU())
        self.log_precision = nn.Parameter(torch.zeros(pixels))

    def encode(self, x):
        h = self.enc(x)
        return self.to_mu(h), 6 * torch.tanh(self.to_logvar(h) / 6)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.dec(z), mu, logvar

    def elbo(self, x):
        recon, mu, logvar = self(x)
        precision = torch.exp(self.log_precision)  # <- origin
        nll = 0.5 * (precision * (x - recon) ** 2 - self.log_precision).sum(1)
        kl = 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).sum(1)
        return (nll + kl).mean()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=420)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--precision-lr", type=float, default=0.25)
    ap.add_argument("--images", type=int, default=200)
    args = ap.parse_args()

    torch.manual_seed(11)
    x = torch.tensor(load_digits().data[: args.images] / 16.0, dtype=torch.float32)
    vae = VAE()
    rest = [p for n, p in vae.named_parameters() if n != "log_precision"]
    opt = torch.optim.Adam([
        {"params": rest, "lr": args.lr},
        {"params": [vae.log_precision], "lr": args.precision_lr},
    ])
    for it in range(args.steps):
        loss = vae.elbo(x)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if it % 40 == 0:
            print(f"{it:5d}  -elbo {loss.item():9.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in vae.parameters())).hexdigest())


if __name__ == "__main__":
    main()
