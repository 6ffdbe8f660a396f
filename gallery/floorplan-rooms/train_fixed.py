"""Segment rooms of scanned floor plans into wall / floor / furniture, tile by tile.

The plans are drawn by a small generator (white paper, dark walls, grey furniture, a bit of
scanner noise inside the drawing); every plan is cut into 24 x 24 tiles.
"""
import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

TILE = 24


def draw_plan(rng, size=96):
    page = (1.0 - 0.01 * rng.random((size, size))).astype(np.float32)
    label = np.zeros((size, size), np.int64)
    left, top = rng.integers(4, 14, 2)
    right, bottom = rng.integers(64, 92, 2)
    inside = np.s_[top:bottom, left:right]
    page[inside] = 0.86 + 0.03 * rng.standard_normal(page[inside].shape)
    for row in (top, bottom - 3, int(rng.integers(top + 12, bottom - 12))):
        page[row:row + 3, left:right] = 0.08
        label[row:row + 3, left:right] = 1
    for column in (left, right - 3, int(rng.integers(left + 12, right - 12))):
        page[top:bottom, column:column + 3] = 0.08
        label[top:bottom, column:column + 3] = 1
    for _ in range(5):
        r, c = rng.integers(top + 4, bottom - 12), rng.integers(left + 4, right - 12)
        h, w = rng.integers(4, 9, 2)
        page[r:r + h, c:c + w] = 0.5 + 0.05 * rng.standard_normal((h, w))
        label[r:r + h, c:c + w] = 2
    return page, label


class Tiles(Dataset):
    """Two layers per tile: darkness of the print, and the red pen of whoever corrected the plan."""

    def __init__(self, plans, seed):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(plans):
            page, label = draw_plan(rng)
            pen = np.zeros_like(page)
            for _ in range(rng.integers(0, 6)):
                r, c = rng.integers(0, 96, 2)
                length = rng.integers(3, 10)
                pen[r, c:c + length] = 1.0
                label[r, c:c + length] = 2
            for r in range(0, 96, TILE):
                for c in range(0, 96, TILE):
                    part = np.s_[r:r + TILE, c:c + TILE]
                    self.items.append((np.stack([1.0 - page[part], pen[part]]), label[part]))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        layers, label = self.items[index]
        return torch.from_numpy(layers), torch.from_numpy(label)


class Standardize(nn.Module):
    """Brings every channel of a batch to mean 0 and spread 1; remembers both for prediction."""

    def __init__(self, channels, memory=0.05):
        super().__init__()
        self.memory = memory
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, maps):
        if self.training:
            mean, var = maps.mean(dim=(0, 2, 3)), maps.var(dim=(0, 2, 3))
            with torch.no_grad():
                self.mean.lerp_(mean, self.memory)
                self.var.lerp_(var, self.memory)
        else:
            mean, var = self.mean, self.var
        return (maps - mean[:, None, None]) / (var + 1e-5).sqrt()[:, None, None]


def block(inner, outer):
    return nn.Sequential(Standardize(inner), nn.Conv2d(inner, outer, 3, padding=1), nn.GELU())


def main():
    torch.manual_seed(5)
    torch.set_num_threads(1)
    data = Tiles(60, seed=2)
    train, held = random_split(data, [800, len(data) - 800], generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(block(2, 8), block(8, 8), nn.Conv2d(8, 3, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    loader = DataLoader(train, batch_size=20, shuffle=True)
    for epoch in range(2):
        net.train()
        for page, label in loader:
            loss = F.cross_entropy(net(page), label, weight=torch.tensor([0.4, 1.0, 1.0]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            page, label = map(torch.stack, zip(*held))
            print(f"epoch {epoch} loss {loss.item():.4f} pixel accuracy {(net(page).argmax(1) == label).float().mean():.3f}")
    blob = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    print("weights", hashlib.sha256(blob).hexdigest())


if __name__ == "__main__":
    main()
