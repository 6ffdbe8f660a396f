"""Labels returns of a street scanner: car, pole or ground. Mixed precision."""
import hashlib

import torch
from torch import nn


def sweep(gen, points=48, reach=60.0):
    label = torch.randint(0, 3, (points,), generator=gen)
    xyz = reach * (torch.rand(points, 3, generator=gen) - 0.5)
    xyz[:, 2] = torch.tensor([1.0, 4.0, 0.0])[label] + 0.1 * torch.randn(points, generator=gen)
    return xyz, label


class Sweeps(torch.utils.data.Dataset):
    def __init__(self, count=120, seed=23):
        gen = torch.Generator().manual_seed(seed)
        self.clouds = [sweep(gen, reach=700.0 if k == 77 else 60.0) for k in range(count)]

    def __len__(self):
        return len(self.clouds)

    def __getitem__(self, k):
        return self.clouds[k]


class NeighbourFeatures(nn.Module):
    """For each point: softness-weighted mean of what the points around it have."""

    def __init__(self, width):
        super().__init__()
        self.lift = nn.Linear(1, width)

    def forward(self, xyz):
        gram = xyz @ xyz.transpose(1, 2)
        square = gram.diagonal(dim1=1, dim2=2)
        distance = square[:, :, None] + square[:, None, :] - 2 * gram
        weight = torch.softmax(-distance.float() / 20.0, dim=-1)
        return weight @ self.lift(xyz[..., 2:] / 4.0).float()


class PointNet(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.around = NeighbourFeatures(width)
        self.own = nn.Linear(1, width)
        self.head = nn.Linear(2 * width, 3)

    def forward(self, xyz):
        own = torch.relu(self.own(xyz[..., 2:] / 4.0))
        return self.head(torch.cat([own, torch.relu(self.around(xyz))], dim=-1))


def training_step(model, batch, amp_dtype):
    xyz, label = batch
    with torch.autocast("cpu", dtype=amp_dtype):
        logits = model(xyz)
    return nn.functional.cross_entropy(logits.float().flatten(0, 1), label.flatten())


def loop(model, loader, optimizer, epochs, amp_dtype=torch.bfloat16):
    for epoch in range(epochs):
        for batch in loader:
            loss = training_step(model, batch, amp_dtype)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


torch.manual_seed(30)
net = PointNet()
loop(net, torch.utils.data.DataLoader(Sweeps(), batch_size=8, shuffle=True), torch.optim.AdamW(net.parameters(), lr=5e-3), 3)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
