"""A drone learns to hover: policy gradient with a Gaussian policy whose spread is learned too."""
import hashlib

import torch
from torch import nn
from torch.distributions import Independent, Normal


class Hover:
    """Height and climb rate of many drones; thrust above that of gravity is the action."""

    def __init__(self, drones):
        self.state = torch.randn(drones, 2) * torch.tensor([0.5, 0.2])

    def step(self, thrust):
        height, climb = self.state.unbind(1)
        climb = climb + 0.2 * thrust.squeeze(1) - 0.02 * climb
        height = height + 0.2 * climb
        self.state = torch.stack([height, climb], 1)
        return -(height.square() + 0.3 * climb.square() + 0.3 * thrust.squeeze(1).square())


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
        self.std = nn.Parameter(torch.full((1,), -0.2))

    def forward(self, state):
        return Independent(Normal(self.body(state), (self.std.exp() + 0.02).expand(len(state), 1)), 1)


def episode(policy, drones=64, length=10):
    world, chances, rewards = Hover(drones), [], []
    for _ in range(length):
        action = policy(world.state)
        thrust = action.sample()
        chances.append(action.log_prob(thrust))
        rewards.append(world.step(thrust))
    rewards = torch.stack(rewards)
    to_go = rewards.flip(0).cumsum(0).flip(0)
    worth = to_go - to_go.mean(1, keepdim=True)
    return -(torch.stack(chances) * worth / (worth.std() + 1e-6)).mean(), rewards.sum(0).mean().item()


def main(updates=200):
    torch.manual_seed(14)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    for update in range(updates):
        loss, reward = episode(policy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 20 == 0:
            print(f"update {update}: reward {reward:.3f}, spread {policy.std.exp().item():.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in policy.parameters())).hexdigest())


main()
