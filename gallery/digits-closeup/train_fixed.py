"""Recognise handwritten digits (8 x 8 pixels) from the whole image and a random close-up of it.

A close-up is a 4 x 4 window, brought to equal contrast so that faint and bold strokes look alike.
"""

import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 4
PLACES = 8 - WINDOW + 1


class LocalContrast(nn.Module):
    """Zero mean and unit spread for each window."""

    def forward(self, window):
        centred = window - window.mean(dim=(1, 2, 3), keepdim=True)
        spread = window.std(dim=(1, 2, 3), keepdim=True)
        return centred / (spread + 0.01)


class DigitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.whole = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten())
        self.contrast = LocalContrast()
        self.detail = nn.Sequential(nn.Conv2d(1, 16, 2), nn.ReLU(), nn.Flatten())
        self.hidden = nn.Linear(16 * 16 + 16 * 9, 64)
        self.digit = nn.Linear(64, 10)

    def forward(self, image, window):
        whole = self.whole(image)
        detail = self.detail(self.contrast(window))
        return self.digit(F.relu(self.hidden(torch.cat([whole, detail], dim=1))))


def close_up(images):
    """A window of each image, at a random place."""
    row, column = torch.randint(PLACES, (2, len(images)))
    windows = images.unfold(2, WINDOW, 1).unfold(3, WINDOW, 1)
    return windows[torch.arange(len(images)), :, row, column]


def main():
    torch.manual_seed(5)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    loader = DataLoader(TensorDataset(images[:1500], labels[:1500]), batch_size=50, shuffle=True)

    model = DigitNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(1, 6):
        for batch, (image, label) in enumerate(loader, start=1):
            loss = F.cross_entropy(model(image, close_up(image)), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if batch % 10 == 0:
                print(f"epoch {epoch}, batch {batch:2d} of {len(loader)}: loss {loss.item():.3f}")

    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
