"""A deep classifier for points on two spirals."""

import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F


class DeepNet(nn.Module):
    def __init__(self, depth=24, width=64):
        super().__init__()
        self.stem = nn.Linear(2, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 2)
        self.apply(self.init_weights)

    @staticmethod
    def init_weights(module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=4.0)
            nn.init.zeros_(module.bias)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


def spirals(n):
    t = torch.sqrt(torch.rand(n)) * 9
    side = torch.randint(2, (n,))
    angle = t + torch.pi * side
    return torch.stack([t * angle.cos(), t * angle.sin()], 1) / 9 + 0.02 * torch.randn(n, 2), side


torch.manual_seed(8)
net = DeepNet()
print("parameters:", sum(p.numel() for p in net.parameters()))
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

for step in range(40):
    points, side = spirals(64)
    loss = F.cross_entropy(net(points), side)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 8 == 0:
        print(f"step {step} loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
