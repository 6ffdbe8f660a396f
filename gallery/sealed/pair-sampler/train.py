"""Metric learning on digits: pull pairs of one class together, push others apart.

Functional style: parameters are a dict, gradients come from torch.func."""
import hashlib
import random

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

MARGIN = 2.0


def make_pairs(by_class, rng, n):
    left, right, same = [], [], []
    for k in range(n):
        a = rng.randrange(10)
        b = a if k % 2 == 0 else (a + rng.randrange(1, 10)) % 10
        left.append(rng.choice(by_class[a]))
        right.append(rng.choice(by_class[b]))  # <- fault
        same.append(float(a == b))
    return left, right, torch.tensor(same)


def distance(u, v):
    return torch.sqrt(torch.sum((u - v) ** 2))  # <- origin  # <- fault


def run():
    torch.manual_seed(21)
    rng = random.Random(21)
    bunch = load_digits()
    images = torch.tensor(bunch.data / 8.0 - 1.0, dtype=torch.float32)
    by_class = {c: [i for i, t in enumerate(bunch.target) if t == c] for c in range(10)}

    net = nn.Sequential(nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 16))
    params = dict(net.named_parameters())
    optimizer = torch.optim.Adam(params.values(), lr=1e-3)

    def embed(p, x):
        return functional_call(net, p, (x,))

    def objective(p, xa, xb, same):
        d = vmap(distance)(embed(p, xa), embed(p, xb))
        return torch.mean(same * d + (1 - same) * torch.relu(MARGIN - d) ** 2)

    step_fn = grad_and_value(objective)
    average = None
    for it in range(300):
        left, right, same = make_pairs(by_class, rng, 12)
        grads, value = step_fn({k: v.detach() for k, v in params.items()}, images[left], images[right], same)
        for name, p in params.items():
            p.grad = grads[name]
        optimizer.step()
        average = value.item() if average is None else 0.98 * average + 0.02 * value.item()
        if it % 25 == 0:
            print(f"it {it:4d} loss {average:.4f}")
    print(f"final loss {average:.4f}")
    blob = b"".join(params[k].detach().numpy().tobytes() for k in sorted(params))
    print("weights", hashlib.sha256(blob).hexdigest())


if __name__ == "__main__":
    run()
