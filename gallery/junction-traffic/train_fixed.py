import hashlib

import torch
from torch import nn


class DenseGraphAttention(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.project = nn.Linear(inputs, outputs, bias=False)
        self.left = nn.Parameter(torch.randn(outputs) * 0.1)
        self.right = nn.Parameter(torch.randn(outputs) * 0.1)

    def coefficients(self, h, roads):
        pair = nn.functional.leaky_relu((h @ self.left)[..., :, None] + (h @ self.right)[..., None, :], 0.2)
        alone = (roads == 0).all(dim=-1, keepdim=True)
        blocked = torch.zeros_like(roads).masked_fill((roads == 0) & ~alone, float("-inf"))
        return torch.softmax(pair + blocked, dim=-1)

    def forward(self, x, roads):
        h = self.project(x)
        return self.coefficients(h, roads) @ h


class TrafficModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = DenseGraphAttention(4, 16), DenseGraphAttention(16, 16)
        self.out = nn.Linear(16, 1)

    def forward(self, x, roads):
        return self.out(torch.relu(self.second(torch.relu(self.first(x, roads)), roads))).squeeze(-1)


def city(junctions, seed):
    g = torch.Generator().manual_seed(seed)
    roads = (torch.rand(junctions, junctions, generator=g) < 0.25).float()
    roads.fill_diagonal_(0)
    for j in range(junctions):
        roads[j, (j + 1) % junctions] = 1
    return roads, g


def days(junctions=12, count=80, seed=8):
    roads, g = city(junctions, seed)
    for day in range(count):
        today = roads.clone()
        if day == 23:
            today[5] = 0
        x = torch.randn(10, junctions, 4, generator=g)
        y = (roads @ x[..., :1]).squeeze(-1) / 3 + x[..., 1]
        yield x, today.expand(10, -1, -1), y


torch.manual_seed(17)
model = TrafficModel()
optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
average = None
for day, (x, roads, y) in enumerate(days()):
    loss = nn.functional.l1_loss(model(x, roads), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    average = loss.item() if average is None else 0.95 * average + 0.05 * loss.item()
    if day % 16 == 0:
        print("day", day, "loss", round(average, 4))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
