"""Digits as four out of sixteen shapes each: a small vector-quantised autoencoder."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F


class Quantizer(nn.Module):
    def __init__(self, codes=16, size=6):
        super().__init__()
        self.book = nn.Embedding(codes, size)

    def forward(self, z):
        flat = z.reshape(-1, z.shape[-1])
        distance = (flat[:, None] - self.book.weight[None]).square().sum(2)
        q = self.book(distance.argmin(1)).view_as(z)
        loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        return z + (q - z).detach(), loss


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24))
        self.quantize = Quantizer()
        self.decode = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        q, loss = self.quantize(self.encode(x).view(-1, 4, 6))
        return self.decode(q.flatten(1)), loss


torch.manual_seed(4)
pictures = torch.tensor(load_digits().data, dtype=torch.float32) / 16.0
model = Digits()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for step in range(260):
    x = pictures[torch.randint(len(pictures), (64,))]
    again, commitment = model(x)
    reconstruction = F.mse_loss(again, x)
    loss = reconstruction + commitment
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 40 == 0:
        print(f"{step:3d} reconstruction {reconstruction.item():.4f} commitment {commitment.item():.4f}")
