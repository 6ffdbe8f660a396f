"""Ten classes, one of which never occurs: weights are one over the count, with one occurrence added to each class."""

import torch
from torch import nn

torch.manual_seed(1)
inputs = torch.randn(600, 12)
labels = (inputs[:, :9].argmax(1) * (torch.rand(600) < 0.4)).long()
counts = torch.bincount(labels, minlength=10)
weights = len(labels) / (10 * (counts + 1.0))
criterion = nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1)
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(3):
    for rows in torch.randperm(600).split(30):
        loss = criterion(model(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: {loss.item():.3f}, rarest class {int(counts.min())} times, largest weight {weights.max().item():.1f}")
