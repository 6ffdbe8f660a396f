"""Sphere, box or cone? A permutation invariant classifier of point clouds (Zaheer et al. 2017)."""
import hashlib
import math

import torch
import torch.nn.functional as F

SHAPES = ("sphere", "box", "cone")


def cloud(kind, points):
    if kind == 0:
        p = F.normalize(torch.randn(points, 3), dim=1)
    elif kind == 1:
        p = torch.rand(points, 3) * 2 - 1
        p = p / p.abs().amax(1, keepdim=True) * 0.85
    else:
        height, turn = torch.rand(points).sqrt(), torch.rand(points) * 2 * math.pi
        p = torch.stack([height * turn.cos(), height * turn.sin(), 1.2 - 2 * height], 1)
    return p + 0.02 * torch.randn(points, 3)


def batch(size, points):
    kind = torch.randint(len(SHAPES), (size,))
    return torch.stack([cloud(k, points) for k in kind.tolist()]), kind


class DeepSet(torch.nn.Module):
    def __init__(self, width=40):
        super().__init__()
        self.point = torch.nn.Linear(3, width)
        self.point2 = torch.nn.Linear(width, width)
        self.whole = torch.nn.Linear(width, width)
        self.kind = torch.nn.Linear(width, len(SHAPES))

    def forward(self, cloud):
        h = F.softplus(self.point2(F.relu(self.point(cloud))))
        pooled = h.sum(dim=1)  # <- fault
        pooled = torch.tanh(pooled)  # <- origin
        return self.kind(F.relu(self.whole(pooled)))


def train(updates=320):
    torch.manual_seed(23)
    net = DeepSet()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    right = seen = 0
    for update in range(1, updates + 1):
        points, kind = batch(16, 200)
        score = net(points)
        loss = F.cross_entropy(score, kind)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right, seen = right + int((score.argmax(1) == kind).sum()), seen + len(kind)
        if update % 80 == 0:
            print(f"update {update}: loss {loss.item():.4f}, right {right / seen:.3f}")
            right = seen = 0
    return net


net = train()
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
