"""Two kinds of iris-like flowers that a line can separate, with the widest margin."""

import torch

torch.manual_seed(2)
kind = torch.randint(0, 2, (300,)) * 2.0 - 1.0
petals = torch.randn(300, 4) * 0.4 + kind[:, None] * torch.tensor([1.5, -0.6, 1.1, 0.3])

line = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(line.parameters(), lr=0.1)
mistakes = 0
for step in range(400):
    rows = torch.randint(300, (16,))
    margin = kind[rows] * line(petals[rows])[:, 0]
    loss = torch.clamp(1.0 - margin, min=0.0).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    mistakes += int((margin < 0).sum())
    if step % 50 == 0:
        print(f"step {step:3d} hinge {loss.item():.5f} mistakes {mistakes}")
