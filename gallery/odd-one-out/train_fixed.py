"""Benign or malignant? A residual network with batch normalisation, fed by a loader that a function makes."""
import hashlib

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils import data


def loader_of(inputs, labels, size, shuffle):
    tables = data.TensorDataset(inputs, labels)
    return data.DataLoader(tables, batch_size=size, shuffle=shuffle, drop_last=True)


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, h):
        return h + self.inner(h)


def epoch(net, loader, optimizer):
    total = 0.0
    for inputs, labels in loader:
        loss = nn.functional.binary_cross_entropy_with_logits(net(inputs).squeeze(1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)


def main():
    torch.manual_seed(19)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32)
    loader = loader_of(inputs[:481], labels[:481], 32, shuffle=True)
    net = nn.Sequential(nn.Linear(30, 32), Residual(32), Residual(32), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for number in range(3):
        print(f"epoch {number}: {epoch(net, loader, optimizer):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


main()
