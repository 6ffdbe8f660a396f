"""Digits with a convolutional net whose filters are pushed towards orthogonality (as in Bansal et al. 2018)."""
import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn


class Trainer:
    penalty_weight = 10.0  # <- fault

    def __init__(self, model, lr):
        self.model = model
        self.opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    def orthogonality(self):
        total = 0.0
        for p in self.model.parameters():
            if p.dim() > 1:
                w = p.flatten(1)
                gram = w.T @ w if w.shape[0] > w.shape[1] else w @ w.T
                total = total + (gram - torch.eye(len(gram))).square().sum()
        return total

    def step(self, x, y):
        self.opt.zero_grad()
        task = self.criterion(self.model(x), y)  # <- origin
        loss = task + self.penalty_weight * self.orthogonality()  # <- fault
        loss.backward()
        self.opt.step()
        return loss.item(), task.item()

    def fit(self, x, y, epochs, batch=64):
        for epoch in range(epochs):
            for rows in torch.randperm(len(x)).split(batch):
                loss, task = self.step(x[rows], y[rows])
            print(f"epoch {epoch}: loss {loss:.3f}, task {task:.3f}")


def build():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


if __name__ == "__main__":
    torch.manual_seed(6)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    trainer = Trainer(build(), lr=0.05)
    trainer.fit(images[:1400], labels[:1400], epochs=4)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())).hexdigest())
