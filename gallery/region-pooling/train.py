"""Find out how full a region of a picture is: features are summed up once, and each region is read from four corners."""

import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn

CELL = 2


class Summed(nn.Module):
    """Sums of all features above and to the left of each cell."""

    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.AvgPool2d(CELL))

    def forward(self, pictures):
        cells = self.features(pictures)
        return nn.functional.pad(cells.cumsum(2).cumsum(3), (1, 0, 1, 0))


def regions(count):
    """Boxes in pixels: left, top, right, bottom."""
    corner = torch.randint(0, 6, (count, 2))
    extent = torch.randint(1, 5, (count, 2))
    return torch.cat([corner, (corner + extent).clamp(max=8)], dim=1)


def average(sums, boxes):
    left, top, right, bottom = (boxes // CELL).unbind(1)
    rows = torch.arange(len(boxes))
    total = sums[rows, :, bottom, right] - sums[rows, :, top, right] - sums[rows, :, bottom, left] + sums[rows, :, top, left]
    area = (bottom - top) * (right - left)
    return total / area.unsqueeze(1)  # <- origin


def fullness(pictures, boxes):
    return torch.stack([p[0, t:b, l:r].mean() for p, (l, t, r, b) in zip(pictures, boxes.tolist(), strict=True)])


torch.manual_seed(8)
pictures = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
summed, head = Summed(12), nn.Linear(12, 1)
parameters = [*summed.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
for step, rows in enumerate(torch.randperm(1200).split(24)):
    boxes = regions(len(rows))
    if step < 30:
        boxes = boxes // CELL * CELL  # easy ones first: whole cells
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + CELL)
    guess = head(average(summed(pictures[rows]), boxes)).squeeze(1)
    loss = nn.functional.mse_loss(guess, fullness(pictures[rows], boxes))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step}: {loss.item():.4f}")
print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parameters)).hexdigest())
