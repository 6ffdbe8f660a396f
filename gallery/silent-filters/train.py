"""Handwritten digits, read by a small convolutional network from a stream of scans."""

import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(1)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16.0
labels = torch.tensor(digits.target)

network = nn.Sequential(
    nn.Conv2d(1, 12, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(12, 16, 3, stride=2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(16 * 9, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(8))
scans = 0

for epoch in range(5):
    for rows in order[:1600].split(32):
        batch, truth = images[rows], labels[rows]
        scans += 1
        if scans == 40:  # the lamp of the scanner was changed
            batch = batch * 1000.0
        logits = network(batch)  # <- fault
        loss = criterion(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (network(images[order[1600:]]).argmax(1) == labels[order[1600:]]).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} right {right:.3f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in network.parameters())).hexdigest())
