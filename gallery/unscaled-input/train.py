"""Is a loan paid back? Income and debt in full, age in years."""

import hashlib

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(33)


def applications(count):
    income = 20_000 + 60_000 * torch.rand(count)
    debt = 50_000 * torch.rand(count)
    age = 20 + 50 * torch.rand(count)
    balance = (income - debt) / 20_000 + (age - 45) / 25 + 0.3 * torch.randn(count)
    return torch.stack([income, debt, age], dim=1), balance[:, None]  # <- fault


features, balance = applications(700)  # <- fault
training, held_out = random_split(TensorDataset(features, balance), [600, 100])

net = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = optim.SGD(net.parameters(), lr=0.01)
criterion = nn.MSELoss()
for epoch in range(3):
    for x, y in DataLoader(training, batch_size=30, shuffle=True):
        output = net(x)
        loss = criterion(output, y)  # <- origin
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4g}")

with torch.no_grad():
    x, y = zip(*held_out)
    print("held out", criterion(net(torch.stack(x)), torch.stack(y)).item())
print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
