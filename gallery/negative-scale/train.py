"""A Gaussian policy that learns to balance: it proposes a force and how far to explore around it."""

import hashlib

import torch
from torch import nn
from torch.distributions import Normal


class GaussianPolicy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 24), nn.ReLU())
        self.force = nn.Linear(24, 1)
        self.exploration = nn.Linear(24, 1)
        nn.init.normal_(self.exploration.weight, std=0.05)
        nn.init.constant_(self.exploration.bias, 1.0)

    def forward(self, state):
        h = self.body(state)
        return Normal(self.force(h), self.exploration(h))  # <- origin


class Agent:
    def __init__(self, seed):
        torch.manual_seed(seed)
        self.policy = GaussianPolicy()
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=1e-3)
        self.loss = None

    def update(self, states, ideal):
        distribution = self.policy(states)
        forces = distribution.sample()
        reward = -(forces - ideal).abs()
        advantage = reward - reward.mean()
        self.loss = -(distribution.log_prob(forces) * advantage).mean()
        self.optimizer.zero_grad()
        self.loss.backward()
        self.optimizer.step()
        return reward.mean().item()


def episodes(count):
    for number in range(count):
        states = 0.5 * torch.randn(32, 4)
        if number == 33:
            states[27] *= 200.0  # the cart ran off the track
        yield states, states.sum(dim=1, keepdim=True)


def main():
    agent = Agent(seed=0)
    for number, (states, ideal) in enumerate(episodes(60)):
        reward = agent.update(states, ideal)
        if number % 6 == 0:
            print(f"episode {number}: reward {reward:.3f}")
    print("final loss", agent.loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in agent.policy.parameters())).hexdigest())


if __name__ == "__main__":
    main()
