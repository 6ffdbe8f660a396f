"""Reflectances of fields over one season, as the archive delivers them: one byte per band and date, 200 = all light."""
import numpy as np
import torch

CROPS = ("winter wheat", "maize", "sugar beet", "grassland", "rapeseed")
DATES = np.linspace(0, 1, 14)


def greenness(crop, rng):
    peak, width, top = {
        0: (0.35, 0.16, 0.85), 1: (0.65, 0.15, 0.9), 2: (0.7, 0.24, 0.85), 3: (0.5, 0.5, 0.7), 4: (0.3, 0.13, 0.8),
    }[crop]
    peak = peak + rng.normal(0, 0.03)
    return 0.12 + (top - 0.12) * np.exp(-(((DATES - peak) / width) ** 2))


def season(crop, rng):
    green = greenness(crop, rng)
    soil = rng.uniform(0.12, 0.22)
    red = soil * (1 - green) + 0.04 * green
    nir = soil * 1.3 * (1 - green) + 0.42 * green
    swir = soil * 1.6 * (1 - green) + 0.15 * green
    bands = np.stack([red, nir, swir], 1) + rng.normal(0, 0.006, (len(DATES), 3))
    cloudy = rng.random(len(DATES)) < 0.004
    bands[cloudy] = rng.uniform(0.55, 0.9, (cloudy.sum(), 1)) * np.array([1.0, 0.98, 0.6])
    return np.clip(np.rint(bands * 200), 1, 255).astype(np.uint8)


def archive(fields, seed):
    rng = np.random.default_rng(seed)
    crops = rng.integers(0, len(CROPS), fields)
    return torch.from_numpy(np.stack([season(c, rng) for c in crops])), torch.from_numpy(crops)


def ratio(a, b):
    return (a - b) / (a + b)  # <- origin  # <- fault


def indices(seasons):
    """Vegetation and moisture index of every date beside the bands themselves."""
    red, nir, swir = seasons.unbind(-1)
    plain = seasons.float() / 200
    return torch.cat([plain, torch.stack([ratio(nir, red), ratio(nir, swir)], -1)], -1)
