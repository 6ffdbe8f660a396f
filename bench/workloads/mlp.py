"""80 x (LayerNorm, Linear 128, ReLU), 324 parameter tensors, AdamW: many small tensors, dearest to a watcher."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, DEPTH, BATCH, CLASSES = 128, 80, 64, 10


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + F.relu(self.linear(self.norm(x)))


def prepare():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, WIDTH), *(Layer() for _ in range(DEPTH)), nn.Linear(WIDTH, CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batches = [(torch.randn(BATCH, 32), torch.randint(CLASSES, (BATCH,))) for _ in range(32)]
    return (model, optimizer), batches


def train(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train(*prepare()[0], prepare()[1] * 4)
