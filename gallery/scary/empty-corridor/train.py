"""REINFORCE on a corridor whose end pays 1 and everything else nothing: whole batches of returns are 0 at first."""

import torch
from torch import nn
from torch.distributions import Categorical

LENGTH, EPISODES, HORIZON = 7, 8, 16


class Corridor:
    def __init__(self, generator):
        self.generator = generator

    def reset(self):
        self.at, self.t = 0, 0
        return self.observe()

    def observe(self):
        return nn.functional.one_hot(torch.tensor(self.at), LENGTH + 1).float()

    def step(self, action):
        self.t += 1
        self.at = max(0, self.at + (1 if action else -1))
        done = self.at == LENGTH or self.t >= HORIZON
        return self.observe(), float(self.at == LENGTH), done


torch.manual_seed(11)
policy = nn.Sequential(nn.Linear(LENGTH + 1, 24), nn.ReLU(), nn.Linear(24, 2))
optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
env = Corridor(None)
for update in range(60):
    losses, total = [], 0.0
    for _ in range(EPISODES):
        state, done, logs, reward = env.reset(), False, [], 0.0
        while not done:
            choice = Categorical(logits=policy(state))
            action = choice.sample()
            logs.append(choice.log_prob(action))
            state, reward, done = env.step(action.item())
        losses.append(-reward * torch.stack(logs).sum())
        total += reward
    loss = torch.stack(losses).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if update % 6 == 0:
        print(f"update {update:2d} loss {loss.item():8.4f} reached {int(total)}/{EPISODES}")
