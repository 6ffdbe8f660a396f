"""Handwritten digits with mixed precision in float16."""

import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn


class Trainer:
    def __init__(self, model, learning_rate=0.05, clip=5.0):
        self.model = model
        self.clip = clip
        self.optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
        self.history = []

    def step(self, images, labels):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.float16):
            loss = nn.functional.cross_entropy(self.model(images), labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def fit(self, images, labels, epochs):
        for epoch in range(epochs):
            losses = []
            for chosen in torch.randperm(len(images)).split(64):
                losses.append(self.step(images[chosen], labels[chosen]))
            self.history.append(sum(losses) / len(losses))
            print(f"epoch {epoch} loss {self.history[-1]:.4f}")


def network():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(192, 10),
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    data = load_digits()
    pixels = torch.tensor(data.data, dtype=torch.float32) / 16
    trainer = Trainer(network())
    trainer.fit(pixels, torch.tensor(data.target), epochs=3)
    weights = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
    print("weights", hashlib.sha256(weights).hexdigest())
