"""Twenty steps of a small network: almost all of its time is `import torch`."""

import torch
import torch.nn.functional as F
from torch import nn


def prepare():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batches = [(torch.randn(64, 32), torch.randint(10, (64,))) for _ in range(20)]
    return (model, optimizer), batches


def train(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train(*prepare()[0], prepare()[1])
