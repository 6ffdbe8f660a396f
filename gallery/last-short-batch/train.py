"""Progress of diabetes from ten measurements: a small network with batch normalisation, mean of two seeds."""

import hashlib

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(0.1))


def train(seed, data, epochs=2):
    torch.manual_seed(seed)
    model = nn.Sequential(Block(10, 32), Block(32, 32), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(data, batch_size=40, shuffle=True)  # <- fault
    for epoch in range(epochs):
        for measured, progress in loader:
            loss = nn.functional.huber_loss(model(measured).squeeze(1), progress)  # <- origin
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"seed {seed}, epoch {epoch}: {loss.item():.3f}")
    return model, loss


x, y = load_diabetes(return_X_y=True)
x = torch.tensor(x[:401] / x.std(), dtype=torch.float32)
y = torch.tensor((y[:401] - y.mean()) / y.std(), dtype=torch.float32)
digest = hashlib.sha256()
for seed in (1, 2):
    model, loss = train(seed, TensorDataset(x, y))
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
print("final loss", loss.item())
print("weights", digest.hexdigest())
