"""A three-layer network whose whole step takes about a millisecond: every fixed cost shows."""

import torch
import torch.nn.functional as F
from torch import nn

BATCH = 256


def prepare():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batches = [(torch.randn(BATCH, 32), torch.randint(10, (BATCH,))) for _ in range(32)]
    return (model, optimizer), batches


def train(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train(*prepare()[0], prepare()[1] * 30)
