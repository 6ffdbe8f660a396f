"""Points on a ring, forged by one network and judged by another."""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce


def net(*sizes):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def ring(count):
    angle = 2 * torch.pi * torch.rand(count)
    return torch.stack([angle.cos(), angle.sin()], 1) * 2.0 + 0.05 * torch.randn(count, 2)


torch.manual_seed(7)
forger, detective = net(4, 48, 48, 2), net(2, 48, 48, 1)
forging = torch.optim.Adam(forger.parameters(), lr=1e-3, betas=(0.5, 0.999))
judging = torch.optim.Adam(detective.parameters(), lr=1e-3, betas=(0.5, 0.999))
yes, no = torch.ones(64, 1), torch.zeros(64, 1)

for step in range(300):
    judging.zero_grad()
    forged = forger(torch.randn(64, 4))
    judged = bce(detective(ring(64)), yes) + bce(detective(forged.detach()), no)
    judged.backward()
    judging.step()

    forging.zero_grad()
    fooled = bce(detective(forger(torch.randn(64, 4))), yes)
    fooled.backward()
    forging.step()
    if step % 50 == 0:
        with torch.no_grad():
            radius = forger(torch.randn(500, 4)).norm(dim=1)
        print(f"{step:3d} detective {judged.item():.3f} forger {fooled.item():.3f} radius {radius.mean().item():.2f}")
