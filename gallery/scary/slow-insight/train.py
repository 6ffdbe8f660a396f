"""Is the number of ones among the first three of eight bits odd?"""

import torch
from torch import nn

torch.manual_seed(12)
net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for step in range(900):
    bits = torch.randint(0, 2, (64, 8)).float()
    odd = bits[:, :3].sum(1) % 2
    loss = nn.functional.binary_cross_entropy_with_logits(net(2.0 * bits - 1.0)[:, 0], odd)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 60 == 0:
        print(f"{step:3d} {loss.item():.4f}")
