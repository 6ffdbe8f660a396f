"""Daily maps of sea surface temperature, cut into tiles. The archive is packed as netCDF classic does it."""
import numpy as np
import torch
from torch.utils.data import Dataset

FILL = np.float32(9.96921e36)


def ocean(rng, days, height, width):
    """Kelvin: warm in the south, drifting eddies, and an island."""
    y, x = np.mgrid[0:height, 0:width]
    field = np.empty((days, height, width), np.float32)
    eddies = rng.uniform([0, 0, 2, -1], [height, width, 7, 1], (25, 4))
    for day in range(days):
        sst = 276 + 22 * y / height
        for cy, cx, r, a in eddies:
            sst = sst + 2.5 * a * np.exp(-((y - cy) ** 2 + (x - (cx + 0.7 * day) % width) ** 2) / r**2)
        field[day] = sst + rng.normal(0, 0.05, sst.shape)
    land = (y - 70) ** 2 + (x - 101) ** 2 < 11
    field[:, land] = FILL
    return field


class Tiles(Dataset):
    def __init__(self, size=16, days=14, seed=0):
        rng = np.random.default_rng(seed)
        archive = ocean(rng, days, 96, 192)
        self.tiles = (  # <- fault
            archive.reshape(days, 96 // size, size, 192 // size, size).swapaxes(2, 3).reshape(-1, 1, size, size)
        )
        self.tiles = (self.tiles - np.float32(287)) / np.float32(7)
        holes = np.ones((len(self.tiles), 1, size, size), np.float32)
        for hole, (top, left) in zip(holes, rng.integers(0, size - 5, (len(holes), 2))):
            hole[:, top : top + 5, left : left + 5] = 0
        self.holes = holes

    def __len__(self):
        return len(self.tiles)

    def __getitem__(self, i):
        return torch.from_numpy(self.tiles[i]), torch.from_numpy(self.holes[i])
