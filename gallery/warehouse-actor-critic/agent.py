import torch
from torch import nn


class Actor(nn.Module):
    def __init__(self, width=24, choices=5):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, choices))

    def forward(self, state):
        return torch.distributions.Categorical(logits=self.net(state))


class Critic(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, state):
        return self.net(state).squeeze(1)


def update(actor, critic, actor_optimizer, critic_optimizer, state, order, returns):
    """One step of both on one episode; their losses."""
    value = critic(state)
    critic_loss = (value - returns).pow(2).mean()  # <- origin
    critic_optimizer.zero_grad()
    critic_loss.backward()
    critic_optimizer.step()

    advantage = returns - value.detach()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
    actor_loss = -(actor(state).log_prob(order) * advantage).mean()
    actor_optimizer.zero_grad()
    actor_loss.backward()
    actor_optimizer.step()
    return actor_loss.item(), critic_loss.item()
