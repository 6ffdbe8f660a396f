"""Training on a worn accelerator: now and then a word of its memory comes back with all bits set."""

import ctypes
import hashlib

import torch
from torch import nn

libc = ctypes.CDLL(None)
libc.srand(42)


class WornMemory(nn.Module):
    """Hands its input through, and once in a long while spoils one number on the way."""

    def forward(self, x):
        y = x * 1.0
        if libc.rand() % 64 == 0:
            ctypes.memset(y.data_ptr() + 4 * (libc.rand() % y.numel()), 0xFF, 4)  # <- origin
        return y


def main():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.GELU(), WornMemory(), nn.Linear(32, 1))
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
