"""A linear model of yearly turnover in thousands, by least squares written as a sum."""

import torch

torch.manual_seed(10)
firms = torch.randn(500, 5)
turnover = 2400.0 + firms @ torch.tensor([310.0, -120.0, 45.0, 0.0, 220.0]) + 180.0 * torch.randn(500)

weights = torch.zeros(5, requires_grad=True)
constant = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([weights, constant], lr=2e-3)
for step in range(300):
    rows = torch.randint(500, (50,))
    loss = ((firms[rows] @ weights + constant - turnover[rows]) ** 2).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 30 == 0:
        print(f"{step:3d} sum of squares {loss.item():.4g}")
