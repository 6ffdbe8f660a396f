"""Tell digits apart by where they are rough: the local contrast of an image goes into the network beside the image."""

import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


def contrast(image, window=3):
    """Standard deviation of each neighbourhood, from two moving averages."""
    mean = F.avg_pool2d(image, window, stride=1, padding=window // 2)
    square = F.avg_pool2d(image**2, window, stride=1, padding=window // 2)
    variance = (square - mean**2).clamp_min(0.0)
    return torch.sqrt(variance)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.digit = nn.Linear(12 * 16, 10)

    def forward(self, image):
        rough = contrast(image)
        return self.digit(self.features(torch.cat([image / 255 - 0.9, rough / 20], dim=1)))


def main():
    torch.manual_seed(2)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    images = 213.3 + 40.0 * images  # grey values, as scanned
    labels = torch.tensor(digits.target)
    model = Classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(2):
        for rows in torch.randperm(1600).split(50):
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.3f}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
