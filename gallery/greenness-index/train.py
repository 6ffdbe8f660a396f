"""Field, wood, water or town? Pixels of a satellite scene (8 bits per band), with the vegetation index as a fifth number."""
import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

COVER = {"field": (60, 85, 55, 170), "wood": (35, 55, 35, 190), "water": (40, 35, 25, 15), "town": (118, 110, 105, 118)}


def scene(pixels, seed):
    rng = np.random.default_rng(seed)
    kind = rng.integers(len(COVER), size=pixels)
    centre = np.array(list(COVER.values()), dtype=float)[kind]
    bands = np.clip(centre + rng.normal(0, 9, size=centre.shape), 1, 255).astype(np.uint8)
    return bands, kind


def features(bands):
    red, near_infrared = bands[:, 2], bands[:, 3]
    index = (near_infrared - red) / (near_infrared + red)  # <- fault
    return np.column_stack([bands / 255.0, index]).astype(np.float32)


def main():
    torch.manual_seed(2)
    bands, kind = scene(3000, seed=40)
    data = TensorDataset(torch.from_numpy(features(bands)), torch.from_numpy(kind))
    loader = DataLoader(data, batch_size=25, shuffle=True)
    net = nn.Sequential(nn.Linear(5, 40), nn.Tanh(), nn.Linear(40, len(COVER)))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(4):
        for step, (pixel, cover) in enumerate(loader):
            loss = nn.functional.cross_entropy(net(pixel), cover)  # <- origin
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 40 == 0:
                print(epoch, step, f"{loss.item():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    main()
