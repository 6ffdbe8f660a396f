# train a digit classifier, then shrink it for the device and adapt the small weights a little
import hashlib
import torch as t
from torch import nn
from sklearn import datasets

t.manual_seed(8)
d = datasets.load_digits()
x = t.tensor(d.data, dtype=t.float32) / 16
y = t.tensor(d.target)
xtr, ytr, xte, yte = x[:1400], y[:1400], x[1400:], y[1400:]


def accuracy(net):
    with t.no_grad():
        z = net(xte.to(next(net.parameters()).dtype))
    return (z.argmax(1) == yte).float().mean().item()


def epoch(net, opt, bs):
    dtype = next(net.parameters()).dtype
    s = 0.
    for i in t.randperm(len(xtr)).split(bs):
        opt.zero_grad()
        l = nn.functional.cross_entropy(net(xtr[i].to(dtype)).float(), ytr[i])
        l.backward()
        opt.step()  # <- origin
        s += l.item() * len(i)
    return s / len(xtr)


net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
opt = t.optim.Adam(net.parameters(), lr=3e-3)
for e in range(4):
    print('full', e, round(epoch(net, opt, 50), 4), round(accuracy(net), 4))

net = net.half()
opt = t.optim.Adam(net.parameters(), lr=2e-4)  # <- fault
for e in range(2):
    print('half', e, round(epoch(net, opt, 100), 4), round(accuracy(net), 4))

print('weights', hashlib.sha256(b''.join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
