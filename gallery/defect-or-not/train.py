"""Will the casting have a crack? Twelve readings of the furnace, yes or no."""

import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(6)
readings = torch.randn(640, 12)
cracked = ((readings[:, 0] * readings[:, 1] + readings[:, 2] > 0.2) & (readings[:, 5] > -1.0)).float()[:, None]
loader = DataLoader(TensorDataset(readings[:512], cracked[:512]), batch_size=32, shuffle=True)


class Inspector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        self.output = nn.Softmax(dim=1)  # <- fault

    def forward(self, x):
        return self.output(self.body(x))  # <- fault


model = Inspector()
bce = nn.BCELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(12):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = bce(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch:2d} mean loss {total / len(loader):.4f}")
with torch.no_grad():
    print("right", ((model(readings[512:]) > 0.5) == (cracked[512:] > 0.5)).float().mean().item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
