"""Energies of molecules from descriptors: the descriptor network runs in float16, the readout in float32."""

import argparse
import hashlib

import torch
import torch.nn as nn


class EnergyModel(nn.Module):
    def __init__(self, descriptors):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(descriptors, 48), nn.SiLU(), nn.Linear(48, 24), nn.SiLU()).half()
        self.readout = nn.Linear(24, 1)

    def forward(self, x, atoms):
        h = self.trunk(x.half())
        h = h.float()
        return self.readout(h)[:, 0] * atoms


def energy_loss(prediction, target, atoms):
    return (((prediction - target) / atoms) ** 2).mean()


def molecules(count, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 12, generator=g)
    atoms = torch.randint(3, 20, (count,), generator=g).float()
    atoms[401] = 9000.0  # the only protein
    return x, atoms, atoms * (torch.sin(3 * x).mean(dim=1) + 0.5)


def train(args):
    torch.manual_seed(args.seed)
    x, atoms, energy = molecules(args.molecules, args.seed)
    model = EnergyModel(x.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, eps=1e-4)
    for epoch in range(args.epochs):
        for xs, ns, es in zip(x.split(args.batch), atoms.split(args.batch), energy.split(args.batch)):
            loss = energy_loss(model(xs, ns), es, ns)
            model.zero_grad()
            loss.backward()
            optimizer.step()
        print("epoch", epoch, "loss", loss.item())
    return model, loss


parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--molecules", type=int, default=480)
parser.add_argument("--seed", type=int, default=0)
model, loss = train(parser.parse_args())
print("final loss", loss.item())
digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().float().numpy().tobytes())
print("weights", digest.hexdigest())
