# replay: none, reason: neither a backward nor an optimizer: nothing tells that this is a step
"""No backward at all: torch.func.grad_and_value, per-sample clipping with vmap, momentum by hand."""
import hashlib

import torch
from torch.func import functional_call, grad_and_value, vmap

torch.manual_seed(72)
net = torch.nn.Linear(4, 3)
weights = {k: v.detach().clone() for k, v in net.named_parameters()}
momentum = {k: torch.zeros_like(v) for k, v in weights.items()}


def loss_of(w, x, y):
    return torch.nn.functional.cross_entropy(functional_call(net, w, (x.unsqueeze(0),)), y.unsqueeze(0))


per_sample = vmap(grad_and_value(loss_of), in_dims=(None, 0, 0))
for step in range(12):
    x = torch.randn(8, 4)
    y = x[:, :3].argmin(1)
    grads, losses = per_sample(weights, x, y)
    lengths = sum(g.flatten(1).square().sum(1) for g in grads.values()).sqrt()
    factor = (1.0 / lengths).clamp(max=1.0)
    for k, g in grads.items():
        noisy = torch.einsum("b,b...->...", factor, g) / 8 + 0.001 * torch.randn_like(weights[k])
        momentum[k] = 0.9 * momentum[k] + noisy
        weights[k] = weights[k] - 0.1 * momentum[k]
    print(step, losses.mean().item())
print("weights", hashlib.sha256(b"".join(t.numpy().tobytes() for d in (weights, momentum) for t in d.values())).hexdigest())
