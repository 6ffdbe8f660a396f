import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NAMES = ["healthy", "rust", "mildew", "blight", "mosaic", "scab", "wilt"]


def field_photos(rng, count):
    shares = np.array([0.4, 0.2, 0.15, 0.1, 0.1, 0.05, 0.0])
    disease = rng.choice(len(NAMES), size=count, p=shares)
    colour = rng.normal(size=(len(NAMES), 3, 6, 6))
    photos = colour[disease] + 0.8 * rng.normal(size=(count, 3, 6, 6))
    return photos.astype(np.float32), disease


def class_weights(labels):
    frequency = np.bincount(labels, minlength=len(NAMES)).clip(1) / len(labels)
    inverse = frequency ** -0.5
    return torch.tensor(inverse / inverse.sum(), dtype=torch.float32)


class WeightedLoss(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.register_buffer("weight", class_weights(labels))

    def forward(self, scores, labels):
        return nn.functional.cross_entropy(scores, labels, weight=self.weight)


def fit():
    torch.manual_seed(3)
    photos, disease = field_photos(np.random.default_rng(3), 500)
    model = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(192, len(NAMES)))
    criterion = WeightedLoss(disease)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, nesterov=True, momentum=0.9)
    data = TensorDataset(torch.from_numpy(photos), torch.from_numpy(disease))
    for epoch in range(3):
        for batch, (x, y) in enumerate(DataLoader(data, 25, shuffle=True)):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, batch, "loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


fit()
