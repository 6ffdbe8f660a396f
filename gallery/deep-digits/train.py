"""Digits again, this time with a network that is deep."""

import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn


class Deep(nn.Module):
    def __init__(self, depth=14, width=48):
        super().__init__()
        sizes = [64] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.classes = nn.Linear(width, 10)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.sigmoid(layer(x))  # <- fault
        return self.classes(x)


def main():
    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16.0, torch.tensor(digits.target)
    model = Deep()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5 * 50)
    for epoch in range(5):
        for rows in torch.randperm(1600).split(32):
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        with torch.no_grad():
            right = (model(images[1600:]).argmax(1) == labels[1600:]).float().mean().item()
        print(f"epoch {epoch} loss {loss.item():.4f} right {right:.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
