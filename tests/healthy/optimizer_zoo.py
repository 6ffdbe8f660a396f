"""One after the other, on the same small problem, from the same start."""
import hashlib

import torch

RECIPES = {
    "Adam": dict(lr=0.01), "AdamW": dict(lr=0.01, amsgrad=True), "RMSprop": dict(lr=0.01, centered=True, momentum=0.5),
    "Adagrad": dict(lr=0.1), "Adadelta": dict(), "Rprop": dict(lr=0.01), "NAdam": dict(lr=0.01), "RAdam": dict(lr=0.05),
    "Adamax": dict(lr=0.02), "ASGD": dict(lr=0.05), "SGD": dict(lr=0.05, momentum=0.9, nesterov=True, foreach=True),
}


def problem():
    torch.manual_seed(79)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)), torch.randn(20, 4)


sha = hashlib.sha256()
for name, kwargs in RECIPES.items():
    net, x = problem()
    opt = getattr(torch.optim, name)(net.parameters(), **kwargs)
    for _ in range(7):
        opt.zero_grad()
        loss = (net(x).squeeze() - x.prod(1)).square().mean()
        loss.backward()
        opt.step()
    for p in net.parameters():
        sha.update(p.detach().numpy().tobytes())
        for key, value in sorted(opt.state[p].items()):
            sha.update(key.encode() + (value.numpy().tobytes() if torch.is_tensor(value) else repr(value).encode()))
    print(f"{name:9s} {loss.item():.9f}")
print("weights", sha.hexdigest())
