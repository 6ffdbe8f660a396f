"""Read one digit on a photographed meter: the detector gives a box, we classify what is under it."""
from dataclasses import dataclass
from hashlib import sha256

import torch
from sklearn.datasets import load_digits
from torch import nn

from roi import pool_boxes


@dataclass
class Photo:
    pixels: torch.Tensor
    box: tuple
    digit: int


@dataclass
class Settings:
    side: int = 48
    batch: int = 24
    rate: float = 5e-3
    epochs: int = 4
    seed: int = 10


def take_photo(glyph, digit, side, rng):
    """Paste the glyph at a random place; most meters are close by, some hang at the far wall."""
    size = int(torch.randint(12, 25, (1,), generator=rng))
    if torch.rand(1, generator=rng) < 0.0075:
        size = int(torch.randint(3, 7, (1,), generator=rng))
    patch = nn.functional.interpolate(glyph[None, None], size=(size, size), mode="bilinear", align_corners=False)[0, 0]
    top, left = torch.randint(0, side - size, (2,), generator=rng).tolist()
    pixels = 0.25 * torch.rand(side, side, generator=rng)
    pixels[top:top + size, left:left + size] += patch
    return Photo(pixels, (top, left, top + size, left + size), digit)


class Reader(nn.Module):
    stride = 4

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(12, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 48, 3, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, pixels, boxes):
        return self.head(pool_boxes(self.body(pixels), boxes, self.stride))


def train(settings):
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)
    raw = load_digits()
    photos = [take_photo(torch.tensor(g, dtype=torch.float32) / 16, int(d), settings.side, rng) for g, d in zip(raw.images, raw.target)]
    reader = Reader()
    optimizer = torch.optim.NAdam(reader.parameters(), lr=settings.rate)
    for epoch in range(settings.epochs):
        order = torch.randperm(len(photos), generator=rng).tolist()
        right = 0
        for first in range(0, len(order), settings.batch):
            batch = [photos[i] for i in order[first:first + settings.batch]]
            pixels = torch.stack([p.pixels for p in batch])[:, None]
            digits = torch.tensor([p.digit for p in batch])
            scores = reader(pixels, [p.box for p in batch])
            loss = nn.functional.cross_entropy(scores, digits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right += (scores.argmax(1) == digits).sum().item()
        print(f"epoch {epoch + 1}/{settings.epochs}  loss {loss.item():.3f}  accuracy {right / len(photos):.3f}")
    return reader


if __name__ == "__main__":
    reader = train(Settings())
    print("weights", sha256(b"".join(v.detach().numpy().tobytes() for v in reader.state_dict().values())).hexdigest())
