"""Tell three textures apart with features of a network that was never trained on them."""

import torch
import torch.nn.functional as F
from torch import nn


def backbone():
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )


def textures(count):
    kind = torch.randint(3, (count,))
    u = torch.linspace(0.0, 18.0, 24)
    stripes = torch.sin(u)[None, :] + torch.zeros(24, 1)
    patterns = torch.stack([stripes, stripes.T, torch.sin(u)[None, :] * torch.sin(u)[:, None]])
    return (patterns[kind] + 0.5 * torch.randn(count, 24, 24))[:, None], kind


class Finetuner:
    def __init__(self):
        self.features = backbone().eval()
        for p in self.features.parameters():
            p.requires_grad = False
        self.head = nn.Linear(24, 3)
        both = [*self.features.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.SGD(both, lr=0.5, momentum=0.9, weight_decay=1e-4)

    def step(self, images, kind):
        with torch.no_grad():
            features = self.features(images)
        loss = F.cross_entropy(self.head(features), kind)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


torch.manual_seed(3)
tuner = Finetuner()
for step in range(160):
    loss = tuner.step(*textures(24))
    if step % 20 == 0:
        print(f"{step:3d} {loss:.4f}")
