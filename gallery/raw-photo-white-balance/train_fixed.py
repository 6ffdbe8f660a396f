"""Learns the gains of the three colour channels of a shot from the shot itself (auto white balance)."""
import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader

from isp_fixed import Shots, to_display

torch.manual_seed(0)
torch.set_num_threads(1)


class Balance(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 5, stride=2), nn.GELU(), nn.Conv2d(12, 24, 3, stride=2), nn.GELU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.gain = nn.Linear(24, 3)

    def forward(self, raw):
        gain = torch.exp(0.5 * torch.tanh(self.gain(self.features(raw))) + 0.4)
        return to_display(raw * gain[:, :, None, None])


shots = Shots()
loader = DataLoader(shots, batch_size=16)
model = Balance()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(3):
    total = 0.0
    for raw, goal in loader:
        shown = model(raw)
        loss = (shown - goal).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() / len(loader)
    print(f"epoch {epoch}: mean error {total:.4f}")

digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().numpy().tobytes())
print("weights", digest.hexdigest())
