"""Style features of small tiles with an instance normalisation written by hand."""
import hashlib

import torch
import torch.nn.functional as F


def norm(x, gamma, beta):
    mean = x.mean(dim=(2, 3), keepdim=True)
    std = (x - mean).pow(2).mean(dim=(2, 3), keepdim=True).sqrt()
    return (x - mean) / std * gamma + beta  # <- origin


def tiles(n, g):
    base = torch.rand(n, 1, 8, 8, generator=g)
    kind = torch.randint(0, 3, (n,), generator=g)
    base = torch.where(kind[:, None, None, None] == 1, base.sort(-1).values, base)
    base = torch.where(kind[:, None, None, None] == 2, base.sort(-2).values, base)
    return base, kind


torch.manual_seed(2)
g = torch.Generator().manual_seed(3)
w1, w2 = (torch.nn.Parameter(torch.randn(*s) / (s[1] * 9) ** 0.5) for s in ((8, 1, 3, 3), (8, 8, 3, 3)))
gamma, beta = torch.nn.Parameter(torch.ones(1, 1, 1, 1)), torch.nn.Parameter(torch.zeros(1, 1, 1, 1))
out = torch.nn.Linear(8, 3)
opt = torch.optim.Adam([w1, w2, gamma, beta, *out.parameters()], lr=3e-3)
for it in range(120):
    x, kind = tiles(16, g)
    if it == 71:
        x[5] = 1.0
    h = F.relu(F.conv2d(norm(x, gamma, beta), w1, padding=1))
    h = F.relu(F.conv2d(h, w2, padding=1)).mean((2, 3))
    loss = F.cross_entropy(out(h), kind)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 20 == 0:
        print(it, loss.item())

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in [w1, w2, gamma, beta, *out.parameters()])).hexdigest())
