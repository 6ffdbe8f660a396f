"""Continuous control on a toy plant: actor, critic, soft targets, a replay memory with a bound."""
import copy
import hashlib
import random
from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F

Transition = namedtuple("Transition", "state action reward next_state")
random.seed(15)
torch.manual_seed(15)


class Plant:
    def __init__(self):
        self.state = torch.zeros(2)
        self.age = 0

    def reset(self):
        self.age = 0
        self.state = torch.rand(2) - 0.5
        return self.state

    def step(self, action):
        self.age += 1
        self.state = 0.9 * self.state + 0.1 * torch.cat([action, -self.state[:1]]) + 0.01 * torch.randn(2)
        return self.state, -self.state.square().sum().item(), self.age >= 8


class ReplayMemory:
    def __init__(self, capacity):
        self.memory = deque(maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, n):
        return Transition(*map(lambda c: torch.stack([torch.as_tensor(v) for v in c]), zip(*random.sample(self.memory, n))))

    def __len__(self):
        return len(self.memory)


actor = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 1), nn.Tanh())
critic = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 1))
actor_target, critic_target = copy.deepcopy(actor), copy.deepcopy(critic)
actor_opt = torch.optim.Adam(actor.parameters(), 1e-3)
critic_opt = torch.optim.Adam(critic.parameters(), 2e-3)
memory = ReplayMemory(24)
env = Plant()
tau, gamma = 0.05, 0.95

s = env.reset()
episode_return, returns = 0.0, []
for t in range(36):
    with torch.no_grad():
        a = (actor(s) + 0.1 * torch.randn(1)).clamp(-1, 1)
    s2, r, done = env.step(a)
    memory.push(s, a, r, s2)
    episode_return += r
    s = s2
    if done:
        returns.append(episode_return)
        episode_return = 0.0
        s = env.reset()
    if len(memory) < 12:
        continue

    b = memory.sample(8)
    with torch.no_grad():
        target_q = b.reward.float().unsqueeze(1) + gamma * critic_target(torch.cat([b.next_state, actor_target(b.next_state)], 1))
    critic_loss = F.mse_loss(critic(torch.cat([b.state, b.action], 1)), target_q)
    critic_opt.zero_grad()
    critic_loss.backward()
    critic_opt.step()

    actor_loss = -critic(torch.cat([b.state, actor(b.state)], 1)).mean()
    actor_opt.zero_grad()
    actor_loss.backward()
    actor_opt.step()

    with torch.no_grad():
        for net, target in ((actor, actor_target), (critic, critic_target)):
            for p, q in zip(net.parameters(), target.parameters()):
                q.mul_(1 - tau).add_(tau * p)
    if t % 6 == 0:
        print(t, critic_loss.item(), actor_loss.item(), len(memory))

print("returns", returns)
h = hashlib.sha256()
for m in (actor, critic, actor_target, critic_target):
    for v in m.state_dict().values():
        h.update(v.numpy().tobytes())
for o in (actor_opt, critic_opt):
    for st in o.state.values():
        h.update(st["exp_avg"].numpy().tobytes() + st["exp_avg_sq"].numpy().tobytes())
print("weights", h.hexdigest())
