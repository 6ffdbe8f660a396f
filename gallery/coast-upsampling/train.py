"""Sharper elevation models: rebuild 16 x 16 patches of terrain from their 4 x 4 averages."""
import hashlib

import torch
from terrain import coast
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIDE, RATIO = 16, 4
HUNDRED_METRES = 100.0


class Patches(Dataset):
    def __init__(self, raster):
        self.places = [(r, c) for r in range(0, raster.shape[0], SIDE) for c in range(0, raster.shape[1], SIDE)]
        self.raster = torch.from_numpy(raster) / HUNDRED_METRES

    def __len__(self):
        return len(self.places)

    def __getitem__(self, i):
        r, c = self.places[i]
        return self.raster[r : r + SIDE, c : c + SIDE].unsqueeze(0)


class Sharpen(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        self.work = nn.Conv2d(width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, RATIO**2, 3, padding=1)
        self.spread = nn.PixelShuffle(RATIO)

    def forward(self, coarse):
        h = torch.relu(self.enter(coarse))
        h = h + torch.relu(self.work(h))
        return nn.functional.interpolate(coarse, scale_factor=RATIO, mode="bilinear") + self.spread(self.leave(h))


def train():
    torch.manual_seed(13)
    raster = coast(rows=640, columns=512, seed=3)  # <- fault
    loader = DataLoader(Patches(raster), batch_size=32, shuffle=True)
    net = Sharpen()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(3):
        for number, fine in enumerate(loader):
            coarse = nn.functional.avg_pool2d(fine, RATIO)
            loss = (net(coarse) - fine).square().mean()  # <- origin
            opt.zero_grad()
            loss.backward()
            opt.step()
            if number % 10 == 0:
                print(f"epoch {epoch}, batch {number}: rmse {loss.sqrt().item() * HUNDRED_METRES:.1f} m")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


train()
