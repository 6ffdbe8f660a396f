"""Will the customer renew? A linear probability model on a few ratios."""

import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(30)
ratios = torch.rand(800, 6)
renewed = (ratios @ torch.tensor([0.3, 0.2, -0.2, 0.1, 0.2, -0.1]) + 0.2 > torch.rand(800)).float()
ratios[517, 0] = 45.0

model = nn.Linear(6, 1)
nn.init.zeros_(model.weight)
nn.init.constant_(model.bias, 0.5)
criterion = nn.BCELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

for batch, (x, y) in enumerate(DataLoader(TensorDataset(ratios, renewed), batch_size=20)):
    probability = model(x).squeeze(1)
    loss = criterion(probability, y)  # <- origin
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if batch % 5 == 0:
        print(f"batch {batch}: {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
