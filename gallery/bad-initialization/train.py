"""A deep classifier for standardised measurements of two kinds of particles."""

import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F


class DeepNet(nn.Module):
    def __init__(self, inputs=40, depth=45, width=128):
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 2)
        self.apply(self.init_weights)

    @staticmethod
    def init_weights(module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1.0)  # <- fault
            nn.init.zeros_(module.bias)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for layer in self.layers:
            x = torch.relu(layer(x))  # <- origin
        return self.head(x)


def particles(n):
    kind = torch.randint(2, (n,))
    return torch.randn(n, 40) + 0.4 * (2 * kind[:, None] - 1) * torch.linspace(-1, 1, 40), kind


torch.manual_seed(2)
net = DeepNet()
print("parameters:", sum(p.numel() for p in net.parameters()))
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

for step in range(30):
    x, kind = particles(64)
    loss = F.cross_entropy(net(x), kind)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 5 == 0:
        print(f"step {step} loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
