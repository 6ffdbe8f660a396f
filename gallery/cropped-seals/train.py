"""Seal or stone? Photographs from a drone, cut to the box that a volunteer drew."""

import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIZE = 12


class Crop:
    """The part of a photograph inside a box (left, top, right, bottom), brought to one size."""

    def __call__(self, photo, box):
        left, top, right, bottom = box
        part = photo[top:bottom, left:right]
        rows = np.linspace(0, part.shape[0] - 1, SIZE).astype(int)
        columns = np.linspace(0, part.shape[1] - 1, SIZE).astype(int)
        return part[np.ix_(rows, columns)]


class Contrast:
    def __call__(self, part, box):
        part = part - part.mean()
        return part / part.std()  # <- fault


class Chain:
    def __init__(self, *stages):
        self.stages = stages

    def __call__(self, photo, box):
        for stage in self.stages:
            photo = stage(photo, box)
        return photo


class Shore(Dataset):
    def __init__(self, count, transform):
        rng = np.random.default_rng(2)
        self.photos = rng.random((count, 40, 40)).astype(np.float32)
        self.seal = rng.integers(0, 2, count)
        corner = rng.integers(0, 20, (count, 2))
        self.boxes = np.concatenate([corner, corner + rng.integers(6, 20, (count, 2))], axis=1)
        for photo, (left, top, right, bottom), seal in zip(self.photos, self.boxes, self.seal):
            if seal:
                photo[(top + bottom) // 2, left:right] += 1.5
        self.boxes[257] = (3, 17, 4, 18)  # a slip of the mouse
        self.transform = transform

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, number):
        part = self.transform(self.photos[number], self.boxes[number])
        return torch.from_numpy(part)[None], int(self.seal[number])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.verdict = nn.Linear(8 * 5 * 5, 2)

    def forward(self, x):
        return self.verdict(self.features(x))  # <- origin


def main():
    torch.manual_seed(1)
    loader = DataLoader(Shore(400, Chain(Crop(), Contrast())), batch_size=25, shuffle=True)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(2):
        right = 0
        for photos, seal in loader:
            scores = net(photos)
            loss = nn.functional.cross_entropy(scores, seal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right += (scores.argmax(1) == seal).sum().item()
        print(f"epoch {epoch}: {right} of 400 right")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    main()
