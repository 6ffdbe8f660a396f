"""How bright is a star, from its colour and temperature? A network that is fitted by L-BFGS, several restarts."""

import hashlib

import torch
from torch import nn


def stars(count):
    mass = 0.3 + 1.7 * torch.rand(count)
    luminosity = 3.8e26 * mass**3.5
    temperature = 5800 * mass**0.55 + 60 * torch.randn(count)
    colour = 4600 / temperature + 0.01 * torch.randn(count)
    return torch.stack([(temperature - 5800) / 1500, (colour - 0.8) / 0.2], dim=1), luminosity[:, None]


def fit(model, features, watts, rounds=6):
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.8, max_iter=8, history_size=5)
    for _ in range(rounds):

        def evaluate():
            optimizer.zero_grad(set_to_none=True)
            misfit = ((model(features) - watts) ** 2).mean()
            misfit.backward()
            return misfit

        loss = optimizer.step(evaluate)
        print(f"misfit {loss.item():.5g}")
    return loss.item()


torch.manual_seed(35)
features, watts = stars(400)
watts = (watts - watts.mean()) / watts.std()
model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
final = fit(model, features, watts)
print("final loss", final)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
