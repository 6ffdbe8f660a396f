"""Warm-up, then decay, stepped each batch; a second group follows a rule of its own."""
import hashlib

import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LinearLR, SequentialLR


def train_loop(model, optimizer, schedulers, steps):
    for step in range(steps):
        x = torch.randn(14, 3)
        loss = nn.functional.mse_loss(model(x), x.flip(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        if step % 4 == 3:
            print(step, loss.item(), [g["lr"] for g in optimizer.param_groups])


torch.manual_seed(40)
model = nn.Sequential(nn.Linear(3, 7), nn.ReLU6(), nn.Linear(7, 3))
optimizer = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.3}], lr=0.1)
train_loop(model, optimizer, [SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=4), ExponentialLR(optimizer, 0.9)], [4])], 12)
train_loop(model, optimizer, [LambdaLR(optimizer, [lambda s: 0.95**s, lambda s: 1 / (1 + s)])], 8)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
