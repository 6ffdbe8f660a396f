"""Six steps of a network with 50 M parameters (192 MiB), to look at the memory they take.

    python large.py adamw|sgd|foreign [poisoned]

`poisoned`: one value of the last batch is NaN.
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
    poisoned = sys.argv[2:] == ["poisoned"]
    for number in range(STEPS):
        x = torch.randn(BATCH, WIDTH)
        if poisoned and number == STEPS - 1:
            x[3, 7] = float("nan")
        optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
