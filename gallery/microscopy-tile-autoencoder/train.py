import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from tiles import TileSet, acquire


@dataclass
class Config:
    slides: int = 24
    batch: int = 32
    epochs: int = 4
    lr: float = 3e-3
    code: int = 24
    seed: int = 2


class TileAE(nn.Module):
    def __init__(self, code):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.SiLU(),
                                 nn.Flatten(), nn.Linear(256, code))
        self.dec = nn.Sequential(nn.Linear(code, 256), nn.SiLU(), nn.Unflatten(1, (16, 4, 4)),
                                 nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1))

    def forward(self, x):
        return self.dec(self.enc(x))


def main(cfg=Config()):
    torch.manual_seed(cfg.seed)
    torch.set_num_threads(1)
    loader = DataLoader(TileSet(acquire(cfg.slides)), cfg.batch, shuffle=True)
    net = TileAE(cfg.code)
    opt = torch.optim.AdamW(net.parameters(), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        losses = []
        for tiles in loader:
            opt.zero_grad(set_to_none=True)
            loss = F.mse_loss(net(tiles), tiles)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(epoch, round(sum(losses) / len(losses), 5))
    digest = hashlib.sha256()
    for p in net.parameters():
        digest.update(p.detach().numpy().tobytes())
    print("weights", digest.hexdigest())


if __name__ == "__main__":
    main()
