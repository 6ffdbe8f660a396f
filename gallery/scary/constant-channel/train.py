"""Images with a channel that is blank throughout, in large batches: batch normalisation turns it into its bias."""

import torch
from torch import nn

torch.manual_seed(2)
model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range(20):
    image = torch.randn(64, 3, 8, 8)
    image[:, 1] = 0.0
    bright = (image[:, 0].mean((1, 2)) > image[:, 2].mean((1, 2))).long()
    loss = nn.functional.cross_entropy(model(image), bright)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 5 == 0:
        print(f"step {step}: {loss.item():.3f}, running variance of the blank channel {model[0].running_var[1].item():.2e}")
