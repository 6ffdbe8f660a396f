"""Six steps of a network with 50 M parameters (192 MiB), to look at the memory they take.

    python large.py adamw|sgd|foreign
"""

import sys

import torch
import torch.nn.functional as F
from foreign import SignedMomentum
from torch import nn

WIDTH, DEPTH, BATCH, STEPS = 2048, 12, 8, 6

if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(*(layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())))
    kinds = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "foreign": SignedMomentum}
    optimizer = kinds[sys.argv[1]](model.parameters(), lr=1e-5)
    for _ in range(STEPS):
        x = torch.randn(BATCH, WIDTH)
        optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
