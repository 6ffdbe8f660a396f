"""Areas of lakes in square metres, summed squares: the first gradient has a norm of 1e10, clipping tames it."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--clip", type=float, default=1.0)
parser.add_argument("--steps", type=int, default=300)
args = parser.parse_args()

torch.manual_seed(12)
width, length = 0.5 + torch.rand(400), 0.5 + torch.rand(400)
area = (10000.0 * width * length)[:, None]
x = torch.stack([width, length, width * length], 1)


class Area(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 16)
        self.outer = nn.Linear(16, 1)
        self.scale = 1000.0

    def forward(self, x):
        return self.scale * self.outer(torch.relu(self.inner(x)))


model = Area()
optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.985)
for step in range(args.steps):
    loss = ((model(x) - area) ** 2).sum()
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), args.clip)
    optimizer.step()
    decay.step()
    if step % 40 == 0:
        print(f"{step} loss {loss.item():.4e} norm {norm.item():.3e}")
