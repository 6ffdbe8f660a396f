"""Sort handwritten digits; within a batch each digit counts alike, however often it was drawn."""

import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

DIGITS = 10


def balanced(labels):
    """How much each image counts: one over how often its digit is among them."""
    counts = torch.bincount(labels, minlength=DIGITS)
    share = counts / len(labels)
    importance = torch.where(counts > 0, 1.0 / share.clamp_min(1e-6), 0.0)
    return F.one_hot(labels, DIGITS).float() @ importance


def batches(images, labels, size):
    order = torch.randperm(len(images))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield images[rows], labels[rows]


def main():
    torch.manual_seed(3)
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).flatten(1) / 16
    labels = torch.tensor(data.target)
    network = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, DIGITS))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for epoch in range(3):
        for number, (image, label) in enumerate(batches(images, labels, 24)):
            each = F.cross_entropy(network(image), label, reduction="none")
            loss = (balanced(label) * each).mean() / DIGITS
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if number % 25 == 0:
                print(f"epoch {epoch}, batch {number}: {loss.item():.3f}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in network.parameters())).hexdigest())


if __name__ == "__main__":
    main()
