"""A curve through noisy measurements, with a rate that is warmed up from 0 and goes down to 0 again and again."""

import math

import torch
from torch import nn

WARM, PERIOD, STEPS = 25, 70, 235


def factor(step):
    if step < WARM:
        return step / WARM
    return 0.5 * (1.0 + math.cos(math.pi * ((step - WARM) % PERIOD) / (PERIOD - 1)))


torch.manual_seed(8)
x = torch.linspace(-3.0, 3.0, 400)[:, None]
y = torch.sin(2.0 * x) + 0.3 * x + 0.1 * torch.randn_like(x)
model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
for step in range(STEPS):
    rows = torch.randint(len(x), (64,))
    optimizer.zero_grad(set_to_none=True)
    loss = nn.functional.mse_loss(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 25 == 0:
        print(f"{step:3d} rate {schedule.get_last_lr()[0]:.5f} loss {loss.item():.4f}")
