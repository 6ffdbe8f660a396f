import hashlib
from dataclasses import dataclass, field

import torch
from sklearn.datasets import load_digits
from torch import nn


@dataclass
class Config:
    widths: list[int] = field(default_factory=lambda: [64, 32, 1])
    head: str = "sigmoid"
    rate: float = 1e-3
    steps: int = 400


HEADS = {"softmax": lambda: nn.Softmax(dim=-1), "sigmoid": nn.Sigmoid, "none": nn.Identity}


def build(config):
    layers = []
    for a, b in zip(config.widths, config.widths[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    layers[-1] = HEADS[config.head]()
    return nn.Sequential(*layers)


def main(config):
    torch.manual_seed(4)
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16.0, dtype=torch.float32)
    y = torch.tensor(labels % 2, dtype=torch.float32)
    net = build(config)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.rate)
    criterion = nn.BCELoss()
    for step in range(config.steps):
        rows = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        loss = criterion(net(x[rows]).squeeze(1), y[rows])
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(step, loss.item())
    return net


if __name__ == "__main__":
    net = main(Config())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
