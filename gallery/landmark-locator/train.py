import hashlib

import numpy as np
import torch
from torch import nn

from losses import log_cosh

SIZE = 192          # pixels of the original photograph; the network sees every sixth


def photographs(n, seed):
    """A bright marker on a noisy floor; in a few pictures somebody stands in front of it."""
    rng = np.random.default_rng(seed)
    where = np.clip(rng.normal(96, 30, (n, 2)), 2, 190)
    yy, xx = np.mgrid[:SIZE:6, :SIZE:6]
    images = np.exp(-((yy - where[:, 0, None, None]) ** 2 + (xx - where[:, 1, None, None]) ** 2) / (2 * 12.0 ** 2))
    images[rng.random(n) < 0.06] = 0
    images += rng.normal(0, 0.05, images.shape)
    return torch.tensor(images, dtype=torch.float32).unsqueeze(1), torch.tensor(where, dtype=torch.float32)


class Locator(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(16 * 64, 48), nn.ReLU(), nn.Linear(48, 2),
        )

    def forward(self, x):
        return SIZE / 2 + 24 * self.body(x)


def run(epochs=6, batch=20):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, where = photographs(600, seed=7)
    net = Locator()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(epochs):
        order = torch.randperm(len(images))
        history = []
        for pick in order.split(batch):
            loss = log_cosh(net(images[pick]), where[pick])
            opt.zero_grad()
            loss.backward()
            opt.step()
            history.append(loss.item())
        print(f"epoch {epoch}: {np.mean(history):.2f} px")
    return net


net = run()
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
