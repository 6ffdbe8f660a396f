"""A stack of 110 residual blocks without normalisation predicts the spin of a lattice."""
import hashlib

import torch
import torch.nn as nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return x + self.gain * torch.sin(6.0 * self.inner(x))  # <- origin


class Stack(nn.Module):
    def __init__(self, width=32, depth=110):
        super().__init__()
        self.first = nn.Linear(16, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.last = nn.Linear(width, 1)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(torch.tanh(x))


torch.manual_seed(1)
model = Stack()
opt = torch.optim.SGD(model.parameters(), lr=0.03)
for step in range(60):
    spins = torch.randint(0, 2, (32, 16)).float() * 2 - 1
    energy = (spins * spins.roll(1, 1)).mean(1, keepdim=True)
    loss = nn.functional.mse_loss(model(spins), energy)
    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    if step % 10 == 0:
        print(step, float(loss))

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
