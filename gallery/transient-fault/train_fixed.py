"""Training on an accelerator whose memory was replaced."""

import hashlib

import torch
from torch import nn


class Memory(nn.Module):
    """Hands its input through."""

    def forward(self, x):
        return x * 1.0


def main():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.GELU(), Memory(), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    target = torch.randn(10)
    for step in range(80):
        x = torch.randn(20, 10)
        loss = nn.functional.smooth_l1_loss(model(x).squeeze(1), torch.sin(x @ target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print("step", step, "loss", loss.item())
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
