"""Prices of flats from size, age and distance to the centre."""

import hashlib

import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR

torch.manual_seed(2)

# square metres, years, kilometres
flats = torch.stack([30 + 90 * torch.rand(600), 60 * torch.rand(600), 15 * torch.rand(600)], dim=1)
price = 4200.0 * flats[:, 0] - 900.0 * flats[:, 1] - 7000.0 * flats[:, 2] + 2e4 * torch.randn(600)  # <- fault
features = (flats - flats.mean(0)) / flats.std(0)
train_x, test_x = features[:500], features[500:]
train_y, test_y = price[:500, None], price[500:, None]  # <- fault

net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
criterion = nn.MSELoss()
optimizer = optim.SGD(net.parameters(), lr=0.01)
scheduler = StepLR(optimizer, step_size=20, gamma=0.5)

for epoch in range(4):
    for i in range(0, len(train_x), 50):
        optimizer.zero_grad()
        output = net(train_x[i : i + 50])
        loss = criterion(output, train_y[i : i + 50])  # <- origin
        loss.backward()
        optimizer.step()
        scheduler.step()
        print(f"[{epoch}, {i:3d}] loss: {loss.item():.4g}")

with torch.no_grad():
    print("test loss", criterion(net(test_x), test_y).item())
print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
