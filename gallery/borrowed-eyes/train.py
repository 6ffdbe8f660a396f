"""A network that knows the digits 0 to 4 is taught 5 to 9: its eyes stay, its last layer is new."""

import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn, optim


def build():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))


def fit(model, optimizer, images, labels, epochs):
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        for rows in torch.randperm(len(images)).split(32):
            loss = criterion(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


torch.manual_seed(0)
digits = load_digits()
images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16.0, torch.tensor(digits.target)
small, large = labels < 5, labels >= 5

model = build()
fit(model, optim.Adam(model.parameters(), lr=2e-3), images[small], labels[small], epochs=5)

second = optim.Adam(model.parameters(), lr=2e-3)  # <- fault
for p in model.parameters():
    p.requires_grad_(False)
model[4] = nn.Linear(32, 5)  # <- fault
fit(model, second, images[large], labels[large] - 5, epochs=8)

with torch.no_grad():
    right = model(images[large]).argmax(1) == labels[large] - 5
print("right", right.float().mean().item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
