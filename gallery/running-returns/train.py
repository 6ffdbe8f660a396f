"""Value learning with returns that are normalised by running moments of E[x] and E[x^2]."""
import hashlib

import torch
from torch import nn


class Moments:
    def __init__(self):
        self.first = self.second = 0.0
        self.count = 0

    def update(self, x):
        self.count += 1
        share = 1 / self.count
        self.first += share * (x.mean() - self.first)
        self.second += share * (x.square().mean() - self.second)

    def spread(self):
        return (self.second - self.first**2).sqrt()  # <- origin  # <- fault

    def normalise(self, x):
        return (x - self.first) / self.spread()


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, s):
        return self.net(s)[:, 0]


torch.manual_seed(0)
critic, moments = Critic(), Moments()
optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
for step in range(100):
    state = torch.randn(32, 4)
    returns = 5000.0 + 0.05 * state.sum(1)
    moments.update(returns)
    loss = (critic(state) - moments.normalise(returns)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(step, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in critic.parameters())).hexdigest())
