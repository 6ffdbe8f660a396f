import random

import numpy as np
import torch

rng = np.random.default_rng(0)
old_style = np.random.RandomState(5)
coin = random.Random(12)
drawn = []


def draw(n):
    a = rng.normal(size=(n, 6))
    b = a @ old_style.rand(6)
    if coin.random() < 0.5:
        b = -b
    drawn.append(n)
    return torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
