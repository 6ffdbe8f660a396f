# small capsule network on the four quadrants of 8x8 digits
import hashlib
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(57)
rng = np.random.default_rng(57)

CAPS, DIM, OUT_DIM, CLASSES = 6, 8, 12, 10


class Squash(torch.autograd.Function):
    """s * |s| / (1 + |s|^2) over the last dimension; keeps only s for the backward pass"""

    @staticmethod
    def forward(ctx, s):
        ctx.save_for_backward(s)
        n = s.norm(dim=-1, keepdim=True)
        return s * n / (1 + n * n)

    @staticmethod
    def backward(ctx, grad):
        s, = ctx.saved_tensors
        n = s.norm(dim=-1, keepdim=True)
        d = 1 + n * n
        radial = (s * grad).sum(-1, keepdim=True)
        return grad * n / d + s * radial * (1 - n * n) / (n.clamp_min(1e-12) * d * d)


class CapsNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.primary = nn.Linear(16, CAPS * DIM, bias=False)
        self.route = nn.Parameter(torch.randn(4 * CAPS, CLASSES, DIM, OUT_DIM) * 0.1)

    def forward(self, img):
        q = img.unfold(1, 4, 4).unfold(2, 4, 4).reshape(-1, 4, 16)
        u = Squash.apply(self.primary(q).view(-1, 4 * CAPS, DIM))
        v = torch.einsum("bid,icdo->bco", u, self.route)
        v = Squash.apply(v)
        return v.pow(2).sum(-1).add(1e-9).sqrt()


def margin(length, y):
    t = F.one_hot(y, CLASSES)
    return (t * F.relu(0.9 - length) ** 2 + 0.5 * (1 - t) * F.relu(length - 0.1) ** 2).sum(1).mean()


digits = load_digits()
X = torch.tensor(digits.images, dtype=torch.float32) / 16
Y = torch.tensor(digits.target)
perm = rng.permutation(len(X))
train, test = perm[:1500], perm[1500:]

net = CapsNet()
opt = torch.optim.RMSprop(net.parameters(), lr=2e-3)
it = 0
for epoch in range(5):
    rng.shuffle(train)
    running = 0.0
    for k in range(0, len(train), 25):
        idx = train[k:k + 25]
        loss = margin(net(X[idx]), Y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        running += loss.item()
        it += 1
        if it % 30 == 0:
            print("iter %4d  loss %.4f" % (it, loss.item()))
    with torch.no_grad():
        acc = (net(X[test]).argmax(1) == Y[test]).float().mean().item()
    print("epoch %d  test accuracy %.3f" % (epoch, acc))

print("final loss %.4f" % (running / 60))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
