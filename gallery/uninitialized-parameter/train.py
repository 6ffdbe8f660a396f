"""A classifier with its own scale layer, made reproducible with deterministic algorithms."""

import hashlib
import math

import torch
from torch import nn

torch.manual_seed(0)
torch.use_deterministic_algorithms(True)


class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(torch.empty(width))  # <- fault
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x * self.gain + self.offset  # <- origin


class Net(nn.Module):
    def __init__(self, features, classes, width=20):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, features))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.scale = Scale(width)
        self.classes = nn.Linear(width, classes)

    def forward(self, x):
        return self.classes(torch.relu(self.scale(x @ self.weight.t())))


x = torch.randn(600, 10)
label = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
net = Net(features=10, classes=3)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for epoch in range(3):
    for start in range(0, 600, 60):
        loss = nn.functional.cross_entropy(net(x[start : start + 60]), label[start : start + 60])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
