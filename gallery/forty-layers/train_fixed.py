"""Functional training: parameters are a list of pairs, the network a function of them."""
import hashlib

import torch
from sklearn.datasets import load_wine


def draw(sizes, generator):
    params = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        w = torch.randn(fan_in, fan_out, generator=generator) * (2 / fan_in) ** 0.5
        params.append((w.requires_grad_(), torch.zeros(fan_out, requires_grad=True)))
    return params


def net(params, x):
    for w, b in params[:-1]:
        x = torch.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def objective(params, x, y):
    scores = net(params, x)
    return torch.nn.functional.cross_entropy(scores, y)


def sgd(params, rate):
    with torch.no_grad():
        for pair in params:
            for p in pair:
                p -= rate * p.grad
                p.grad = None


g = torch.Generator().manual_seed(11)
wine = load_wine()
x = torch.tensor(wine.data, dtype=torch.float32)
x = (x - x.mean(0)) / x.std(0)
y = torch.tensor(wine.target)
params = draw([13] + [256] * 40 + [3], g)
for epoch in range(20):
    loss = objective(params, x, y)
    loss.backward()
    sgd(params, 1e-3)
    print(epoch, float(loss))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in (p for pair in params for p in pair))).hexdigest())
