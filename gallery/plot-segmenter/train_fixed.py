"""Segment crop plots in small aerial tiles, with an averaged copy of the weights for evaluation."""
import copy
import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Plots(Dataset):
    def __init__(self, count, size=20):
        generator = torch.Generator().manual_seed(11)
        self.tiles = torch.randn(count, 3, size, size, generator=generator)
        corner = torch.randint(2, size - 8, (count, 2), generator=generator)
        self.masks = torch.zeros(count, 1, size, size)
        for index, (top, left) in enumerate(corner.tolist()):
            self.masks[index, :, top:top + 6, left:left + 6] = 1
        self.tiles = self.tiles * 0.5 + self.masks

    def __len__(self):
        return len(self.tiles)

    def __getitem__(self, index):
        return self.tiles[index], self.masks[index]


def conv(inside, outside):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU())


class Averaged:
    def __init__(self, model, decay=0.98):
        self.module = copy.deepcopy(model)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for mean, value in zip(self.module.parameters(), model.parameters()):
            mean.lerp_(value, 1 - self.decay)


class SegmentationTrainer:
    def __init__(self, model, rate):
        self.model = model
        self.averaged = Averaged(model)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, nesterov=True)
        self.criterion = nn.BCEWithLogitsLoss()

    def reset(self):
        self.model.zero_grad(set_to_none=True)

    def train_batch(self, tiles, masks):
        self.reset()
        loss = self.criterion(self.model(tiles), masks)
        loss.backward()
        self.optimizer.step()
        self.averaged.update(self.model)
        return loss.detach()

    def train(self, loader, epochs):
        for epoch in range(epochs):
            losses = [self.train_batch(*batch) for batch in loader]
            print(f"epoch {epoch} loss {torch.stack(losses).mean():.4f}")


torch.manual_seed(1)
network = nn.Sequential(conv(3, 12), conv(12, 12), conv(12, 12), nn.Conv2d(12, 1, 1))
SegmentationTrainer(network, rate=0.3).train(DataLoader(Plots(256), batch_size=16, shuffle=True), epochs=10)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in network.parameters())).hexdigest())
