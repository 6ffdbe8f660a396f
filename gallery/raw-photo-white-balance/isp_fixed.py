"""A toy camera pipeline: rendered still lifes as linear sensor data, and the display side of it."""
import numpy as np
import torch
from torch.utils.data import Dataset

PAINTS = [(0.85, 0.2, 0.15), (0.2, 0.55, 0.25), (0.15, 0.25, 0.7), (0.9, 0.8, 0.2), (0.8, 0.8, 0.78), (0.4, 0.25, 0.12)] * 30
PAINTS += [(0.03, 0.03, 0.03)]


def to_linear(srgb):
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_display(linear):
    """The transfer curve of IEC 61966-2-1."""
    toe = 12.92 * linear
    shoulder = 1.055 * linear.clamp(min=0.0031308).pow(1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, toe, shoulder)


def still_life(rng, size):
    y, x = np.mgrid[0:size, 0:size] / size
    wall = rng.uniform(0.4, 0.9) + rng.normal(0, 0.03, 3)
    shade = 1 - 0.15 * (np.cos(rng.uniform(0, 6.28)) * x + np.sin(rng.uniform(0, 6.28)) * y) ** 2
    picture = wall * shade[..., None]
    for _ in range(rng.integers(1, 4)):
        cy, cx, r = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.3)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < r * r
        lit = 1 - 0.6 * np.hypot(y - cy + r / 2, x - cx + r / 2) / r / 1.8
        colour = rng.choice(PAINTS)
        picture = np.where(inside[..., None], np.array(colour) * lit[..., None], picture)
    return np.clip(picture, 0, 1)


class Shots(Dataset):
    """Pictures as the sensor would have seen them under a coloured light, with the picture itself as the goal."""

    def __init__(self, count=480, size=20, seed=5, bits=14):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(count):
            goal = still_life(rng, size)
            raw = to_linear(goal) * rng.uniform(0.35, 1.0, 3)
            raw = np.rint(raw * (2**bits - 1) + rng.normal(0, 4, raw.shape))
            raw = np.clip(raw, 0, 2**bits - 1) / (2**bits - 1)
            self.items.append((raw, goal))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        raw, goal = self.items[i]
        return tuple(torch.from_numpy(a.astype(np.float32)).permute(2, 0, 1) for a in (raw, goal))
