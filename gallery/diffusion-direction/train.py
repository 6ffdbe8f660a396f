"""The direction of nerve fibres from twelve diffusion signals: predict a tensor, take the axis along which water moves most."""

import hashlib

import torch
from torch import nn


class FibreNet(nn.Module):
    def __init__(self, signals=12, width=48):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(signals, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.factor = nn.Linear(width, 9)
        nn.init.zeros_(self.factor.weight)  # begin without a preferred direction
        nn.init.zeros_(self.factor.bias)

    def forward(self, signal):
        root = torch.eye(3) + self.factor(self.body(signal)).unflatten(1, (3, 3))
        return root @ root.mT


def main_axis(tensor):
    _, axes = torch.linalg.eigh(tensor)  # <- origin
    return axes[..., -1]


def phantom(count, gradients, generator):
    axis = nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    signal = torch.exp(-2 * (axis @ gradients.T) ** 2)
    return signal + 0.02 * torch.randn(count, len(gradients), generator=generator), axis


torch.manual_seed(27)
generator = torch.Generator().manual_seed(27)
gradients = nn.functional.normalize(torch.randn(12, 3, generator=generator), dim=1)
model = FibreNet()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for iteration in range(80):
    signal, axis = phantom(64, gradients, generator)
    agreement = (main_axis(model(signal)) * axis).sum(dim=1).pow(2)
    loss = 1 - agreement.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if iteration % 20 == 0:
        print(f"iteration {iteration}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
