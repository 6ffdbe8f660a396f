import numpy as np
import torch
from torch.utils.data import Dataset


def acquire(n_slides, size=96, seed=0):
    """Simulated fluorescence slides: bright nuclei, camera offset already taken off and cut at 0."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size]
    slides = []
    for _ in range(n_slides):
        img = np.zeros((size, size))
        for _ in range(rng.integers(36, 60)):
            cy, cx = rng.uniform(0, size, 2)
            r = rng.uniform(2.5, 5)
            img += rng.uniform(80, 300) * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / (2 * r * r))
        counts = rng.poisson(img) - 4
        slides.append(np.clip(counts, 0, None).astype(np.float32))
    return slides


class TileSet(Dataset):
    def __init__(self, slides, tile=16):
        self.slides, self.tile = slides, tile
        per = slides[0].shape[0] // tile
        self.index = [(s, r * tile, c * tile) for s in range(len(slides)) for r in range(per) for c in range(per)]

    def __len__(self):
        return len(self.index)

    def __getitem__(self, i):
        s, r, c = self.index[i]
        tile = torch.from_numpy(self.slides[s][r:r + self.tile, c:c + self.tile])
        tile = tile / tile.amax().clamp(min=1.0)
        return tile.unsqueeze(0)
