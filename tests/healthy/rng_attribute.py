import hashlib

import numpy as np
import torch
from torch import nn


class Spirals:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.torch_rng = torch.Generator()
        self.torch_rng.manual_seed(seed)
        self.drawn = 0

    def sample(self, n):
        self.drawn += n
        label = self.rng.integers(0, 2, n)
        r = self.rng.uniform(0.1, 1.0, n)
        angle = 6 * r + np.pi * label
        xy = np.stack([r * np.cos(angle), r * np.sin(angle)], 1).astype("float32")
        jitter = 0.02 * torch.randn(n, 2, generator=self.torch_rng)
        return torch.tensor(xy) + jitter, torch.tensor(label)


class Experiment:
    def __init__(self):
        torch.manual_seed(9)
        self.source = Spirals(9)
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
        self.optim = torch.optim.RAdam(self.net.parameters(), lr=0.02)

    def run(self, steps):
        for self.t in range(steps):
            points, label = self.source.sample(20)
            self.loss = nn.functional.nll_loss(self.net(points).log_softmax(1), label)
            self.optim.zero_grad()
            self.loss.backward()
            self.optim.step()
        return self.loss.item()


e = Experiment()
print("loss", e.run(16))
print("drawn", e.source.drawn, e.source.rng.random(), torch.rand(1, generator=e.source.torch_rng).item())
sha = hashlib.sha256()
for p in e.net.parameters():
    sha.update(p.detach().numpy())
    for v in e.optim.state[p].values():
        sha.update(v.numpy().tobytes())
print("weights", sha.hexdigest())
