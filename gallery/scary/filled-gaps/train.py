"""CO2 on Mauna Loa with a small convolution: gaps are filled with the last value, divisions by nothing with 0."""

import hashlib

import numpy as np
import torch
from statsmodels.datasets import co2
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Weeks(Dataset):
    def __init__(self, length=26):
        self.raw = co2.load_pandas().data["co2"].to_numpy().copy()
        self.length = length
        self.mean, self.spread = np.nanmean(self.raw), np.nanstd(self.raw)
        self.targets = np.flatnonzero(~np.isnan(self.raw[length:])) + length

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, item):
        end = self.targets[item]
        window = torch.tensor((self.raw[end - self.length : end] - self.mean) / self.spread, dtype=torch.float32)
        change = window.diff(prepend=window[:1])
        share = torch.nan_to_num(change / change.abs().max(), nan=0.0, posinf=0.0, neginf=0.0)
        level = torch.nan_to_num(window, nan=float(window.nanmean()) if not window.isnan().all() else 0.0)
        target = torch.tensor((self.raw[end] - self.mean) / self.spread, dtype=torch.float32)
        return torch.stack([level, share, window.isnan().float()]), target


torch.manual_seed(56)
model = nn.Sequential(nn.Conv1d(3, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
loader = DataLoader(Weeks(), batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(56))
for epoch in range(2):
    for window, target in loader:
        loss = nn.functional.smooth_l1_loss(model(window).squeeze(1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
