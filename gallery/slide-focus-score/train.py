"""How far out of focus is a tile of a scanned microscope slide? Regression of the blur in pixels."""
import hashlib

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from layers import Focus


def blur(picture, sigma):
    fy, fx = np.fft.fftfreq(picture.shape[0]), np.fft.fftfreq(picture.shape[1])
    damp = np.exp(-2 * (np.pi * sigma) ** 2 * (fy[:, None] ** 2 + fx[None] ** 2))
    return np.fft.ifft2(np.fft.fft2(picture) * damp).real


def scan(slides, seed, tile=18):
    rng = np.random.default_rng(seed)
    tiles, amounts = [], []
    for _ in range(slides):
        y, x = np.mgrid[0 : 6 * tile, 0 : 6 * tile]
        tissue = np.full(y.shape, 0.93)
        outline = np.hypot(y - rng.uniform(34, 74), (x - rng.uniform(34, 74)) * rng.uniform(0.85, 1.2))
        inside = outline < rng.uniform(66, 76)
        tissue[inside] -= 0.15
        for _ in range(420):
            cy, cx = rng.uniform(0, 6 * tile, 2)
            cell = (y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(1.5, 3.2) ** 2
            tissue[cell & inside] = rng.uniform(0.2, 0.55)
        sigma = rng.uniform(0.3, 3.0)
        seen = blur(tissue, sigma)
        seen[outline > 80] = 0.93  # the scanner's white balance cuts the glass off
        seen = np.rint(255 * np.clip(seen, 0, 1)) / 255
        tiles += [seen[r : r + tile, c : c + tile] for r in range(0, 6 * tile, tile) for c in range(0, 6 * tile, tile)]
        amounts += [sigma] * 36
    return torch.tensor(np.array(tiles), dtype=torch.float32).unsqueeze(1), torch.tensor(amounts, dtype=torch.float32)


torch.manual_seed(1)
torch.set_num_threads(1)
tiles, sigma = scan(34, seed=2)
model = Focus()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
mixed = DataLoader(TensorDataset(tiles, sigma), batch_size=12, shuffle=True)
for epoch in range(1):
    losses = []
    for picture, amount in mixed:
        loss = torch.nn.functional.smooth_l1_loss(model(picture), amount)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch}: {np.mean(losses[:20]):.3f} -> {np.mean(losses[-20:]):.3f}")

print("weights", hashlib.sha256(b"".join(w.detach().numpy().tobytes() for w in model.parameters())).hexdigest())
