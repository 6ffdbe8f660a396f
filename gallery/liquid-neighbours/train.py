"""Local order in a liquid: a direction-aware network on the nearest neighbours of each particle."""
import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIDE = 4.0


def boxes(n, particles, seed):
    g = torch.Generator().manual_seed(seed)
    lattice = torch.cartesian_prod(*[torch.arange(3) * SIDE / 3] * 3)[:particles]
    loose = torch.rand(n, 1, 1, generator=g)
    place = lattice + loose * 0.8 * torch.randn(n, particles, 3, generator=g)
    place = (place / 0.01).round() * 0.01 % SIDE  # written with two decimals
    for box in (n // 3, n - 50):
        place[box, 7] = place[box, 11]
    return place, loose.view(n)


class Order(nn.Module):
    def __init__(self, neighbours=6, width=32):
        super().__init__()
        self.neighbours = neighbours
        self.edge = nn.Sequential(nn.Linear(3 + 1, width), nn.SiLU(), nn.Linear(width, width))
        self.out = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, place):
        gap = place[:, None] - place[:, :, None]
        gap = gap - SIDE * torch.round(gap / SIDE)
        apart = gap.square().sum(-1)
        near = apart.topk(self.neighbours + 1, largest=False).indices[..., 1:]
        gap = gap.gather(2, near[..., None].expand(-1, -1, -1, 3))
        length = gap.norm(dim=-1, keepdim=True)
        way = gap / length  # <- origin
        message = self.edge(torch.cat([way, length], -1)).mean(2)
        return self.out(message).mean(1).squeeze(1)


def run():
    torch.manual_seed(31)
    place, loose = boxes(1200, 20, seed=6)
    data = TensorDataset(place, loose)
    loader = DataLoader(data, batch_size=24, shuffle=True)
    net = Order()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(2):
        for k, (p, target) in enumerate(loader):
            loss = nn.functional.smooth_l1_loss(net(p), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if k % 10 == 0:
                print(epoch, k, f"{loss.item():.5f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


run()
