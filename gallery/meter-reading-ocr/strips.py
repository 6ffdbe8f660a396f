"""Photographed counters: the digits of sklearn glued to a strip, squeezed to the width the camera happened to give."""
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits


class CounterStrips(torch.utils.data.Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        digits = load_digits()
        self.items = []
        for _ in range(n):
            reading = rng.integers(0, 10, size=int(rng.integers(3, 7)))
            glyphs = [digits.images[rng.choice(np.flatnonzero(digits.target == d))] for d in reading]
            strip = torch.tensor(np.concatenate(glyphs, axis=1) / 16.0, dtype=torch.float32)
            squeeze = rng.uniform(0.85, 1.6) if rng.random() > 0.008 else rng.uniform(0.35, 0.45)
            width = int(round(strip.shape[1] * squeeze))
            strip = F.interpolate(strip[None, None], size=(16, width), mode="bilinear", align_corners=False)[0, 0]
            self.items.append((strip, torch.tensor(reading + 1)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(items):
    widths = torch.tensor([s.shape[1] for s, _ in items])
    images = torch.zeros(len(items), 1, 16, int(widths.max()))
    for k, (strip, _) in enumerate(items):
        images[k, 0, :, : strip.shape[1]] = strip
    labels = torch.cat([t for _, t in items])
    lengths = torch.tensor([len(t) for _, t in items])
    return images, widths, labels, lengths
