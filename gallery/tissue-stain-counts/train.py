import hashlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
torch.set_num_threads(1)
rng = np.random.default_rng(3)

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])


def biopsy(kind):
    """8-bit RGB picture of a tissue: normal (few nuclei), inflamed (many small), tumour (large ones)."""
    yy, xx = np.mgrid[:24, :24]
    h = np.zeros((24, 24))
    n, r = [(5, 1.6), (16, 1.2), (6, 3.0)][kind]
    for _ in range(rng.poisson(n) + 1):
        cy, cx = rng.uniform(0, 24, 2)
        h += 0.9 * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / (2 * r * r))
    e = 0.25 + 0.05 * rng.standard_normal((24, 24))
    absorbed = h[None] * HAEMATOXYLIN[:, None, None] + e[None] * EOSIN[:, None, None]
    return np.clip(250 * 10 ** -absorbed + rng.normal(0, 2, absorbed.shape), 0, 254).astype(np.uint8)


class StainUnmixing(nn.Module):
    """Amounts of dye cannot be negative, nor can the absorption of a dye."""

    def __init__(self, dyes=6):
        super().__init__()
        self.absorption = nn.Parameter(torch.rand(dyes, 3, 3, 3) / 5)

    def forward(self, density):
        return F.relu(F.conv2d(density, self.absorption.abs(), padding=1))  # <- origin


class Grader(nn.Module):
    def __init__(self):
        super().__init__()
        self.unmix = StainUnmixing()
        self.features = nn.Sequential(nn.Conv2d(6, 16, 3, stride=2, bias=False), nn.ReLU(), nn.Conv2d(16, 24, 3, stride=2, bias=False), nn.ReLU())
        self.head = nn.Linear(24, 3, bias=False)

    def forward(self, rgb):
        density = torch.log10((rgb.float() + 1) / 255)  # <- fault
        return self.head(self.features(self.unmix(density)).amax((2, 3)))


labels = np.arange(480) % 3
pictures = torch.from_numpy(np.stack([biopsy(k) for k in labels]))
loader = DataLoader(TensorDataset(pictures, torch.from_numpy(labels)), batch_size=24, shuffle=True)
net = Grader()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(6):
    right = 0
    for rgb, y in loader:
        score = net(rgb)
        loss = F.cross_entropy(score, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        right += int((score.argmax(1) == y).sum())
    print("epoch %d  loss %.4f  right %d of %d" % (epoch, loss.item(), right, len(labels)))

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
