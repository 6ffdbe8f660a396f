"""Everything that train.py needs: the net, the data, one step, a fingerprint."""
import hashlib

import torch
from torch import nn

calls = 0


def build():
    return nn.Sequential(nn.Linear(4, 12), nn.Sigmoid(), nn.Linear(12, 3))


def batches(n):
    gen = torch.Generator().manual_seed(11)
    for _ in range(n):
        x = torch.randn(20, 4, generator=gen)
        yield x, (x.sum(1) > 0).long() + (x[:, 0] > 1).long()


def train_step(net, opt, x, y):
    global calls
    calls += 1
    out = net(x)
    loss = nn.functional.cross_entropy(out, y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.item()


def fingerprint(net, opt):
    digest = hashlib.new("sha256")
    for p in net.parameters():
        digest.update(p.detach().numpy().tobytes())
        digest.update(opt.state[p]["momentum_buffer"].numpy().tobytes())
    return digest.hexdigest()
