"""Temperature of a heated plate: a network that keeps to the heat equation inside and to measurements at the rim."""

import hashlib
import math

import torch
from torch import nn

STIFFNESS = 2.0e5


class Plate(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.field = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, place):
        return self.field(place)  # <- origin


def laplacian(model, place):
    place = place.requires_grad_(True)
    slope = torch.autograd.grad(model(place).sum(), place, create_graph=True)[0]
    second = [torch.autograd.grad(slope[:, i].sum(), place, create_graph=True)[0][:, i] for i in (0, 1)]
    return second[0] + second[1]


def heat(place):
    return 10.0 * torch.exp(-20.0 * ((place - 0.5) ** 2).sum(1))


def objective(model, inside, rim, measured):
    fit = nn.functional.mse_loss(model(rim), measured)
    residual = ((laplacian(model, inside) + heat(inside)) ** 2).mean()
    return fit + STIFFNESS * residual  # <- fault


def main():
    torch.manual_seed(4)
    model = Plate()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for step in range(150):
        inside = torch.rand(64, 2)
        angle = torch.rand(32) * 2 * math.pi
        rim = 0.5 + 0.5 * torch.stack([angle.cos(), angle.sin()], dim=1)
        measured = 0.3 * angle.sin().unsqueeze(1) + 0.02 * torch.randn(32, 1)
        loss = objective(model, inside, rim, measured)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            print(f"step {step}: {loss.item():.4g}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
