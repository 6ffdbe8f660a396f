import hashlib
import random

import torch
import torch.nn as nn
from torch.distributions import Categorical


class Warehouse:
    """A 7x7 floor. The robot starts anywhere and has to reach the charger in the corner."""

    size = 7
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def reset(self):
        while True:
            self.pos = (self.rng.randrange(self.size), self.rng.randrange(self.size))
            if self.pos != (0, 0):
                break
        self.t = 0
        return self.obs()

    def obs(self):
        r, c = self.pos
        return torch.tensor([r / 3 - 1, c / 3 - 1, float(r == 0), float(c == 0)])

    def step(self, a):
        dr, dc = self.moves[a]
        r = min(max(self.pos[0] + dr, 0), self.size - 1)
        c = min(max(self.pos[1] + dc, 0), self.size - 1)
        self.pos = (r, c)
        self.t += 1
        arrived = self.pos == (0, 0)
        reward = 1.0 if arrived else -0.05
        return self.obs(), reward, arrived or self.t >= 40


class Reinforce:
    def __init__(self, gamma=0.97, lr=5e-3):
        self.policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 4))
        self.value = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
        self.gamma = gamma
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr)

    def parameters(self):
        return [*self.policy.parameters(), *self.value.parameters()]

    def play(self, env):
        obs, done = env.reset(), False
        seen, actions, rewards = [], [], []
        while not done:
            with torch.no_grad():
                a = Categorical(logits=self.policy(obs)).sample().item()
            seen.append(obs)
            actions.append(a)
            obs, r, done = env.step(a)
            rewards.append(r)
        return torch.stack(seen), torch.tensor(actions), rewards

    def returns(self, rewards):
        g, out = 0.0, []
        for r in reversed(rewards):
            g = r + self.gamma * g
            out.append(g)
        return torch.tensor(out[::-1])

    def learn(self, seen, actions, rewards):
        ret = self.returns(rewards)
        v = self.value(seen).squeeze(1)
        value_loss = nn.functional.mse_loss(v, ret)

        adv = ret - v.detach()
        if len(adv) > 1:
            adv = (adv - adv.mean()) / (adv.std() + 1e-6)
        pi = Categorical(logits=self.policy(seen))
        policy_loss = -(pi.log_prob(actions) * adv).mean() - 0.01 * pi.entropy().mean()

        self.optimizer.zero_grad()
        (policy_loss + value_loss).backward()
        self.optimizer.step()
        return policy_loss.item() + value_loss.item()


torch.manual_seed(8)
env = Warehouse(seed=8)
agent = Reinforce()
steps = loss = 0.0
for episode in range(600):
    trajectory = agent.play(env)
    current = agent.learn(*trajectory)
    loss = 0.95 * loss + 0.05 * current
    steps = 0.95 * steps + 0.05 * len(trajectory[2])
    if episode % 50 == 49:
        print(f"episode {episode + 1}: about {steps:.1f} steps, loss {loss:.4f}")

print(f"final loss {loss:.4f}")
params = agent.parameters()
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in params)).hexdigest())
