"""Policy gradient: the rollout, with an environment that keeps a state and a generator of its own, is part of the step."""
import hashlib

import numpy as np
import torch
from torch.distributions import Categorical


class Corridor:
    def __init__(self, seed):
        self.np_random = np.random.default_rng(seed)
        self.position, self.time, self.episodes = 0, 0, 0

    def reset(self):
        self.position = int(self.np_random.integers(-2, 3))
        self.time = 0
        self.episodes += 1
        return np.array([self.position, self.time], dtype=np.float32)

    def step(self, action):
        self.position += 1 if action == 1 else -1
        if self.np_random.random() < 0.1:
            self.position += int(self.np_random.choice([-1, 1]))
        self.time += 1
        done = abs(self.position) >= 4 or self.time >= 10
        return np.array([self.position, self.time], dtype=np.float32), float(self.position >= 4), done


class Policy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
        self.saved_log_probs = []
        self.rewards = []

    def act(self, state):
        m = Categorical(logits=self.net(torch.from_numpy(state)))
        action = m.sample()
        self.saved_log_probs.append(m.log_prob(action))
        return action.item()


torch.manual_seed(102)
env, policy = Corridor(102), Policy()
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
running_reward = 0.0
for i_episode in range(1, 13):
    state, done, ep_reward = env.reset(), False, 0.0
    while not done:
        state, reward, done = env.step(policy.act(state))
        policy.rewards.append(reward)
        ep_reward += reward
    running_reward = 0.05 * ep_reward + 0.95 * running_reward
    R, returns = 0.0, []
    for r in policy.rewards[::-1]:
        R = r + 0.99 * R
        returns.insert(0, R)
    returns = torch.tensor(returns) - running_reward
    policy_loss = torch.stack([-lp * ret for lp, ret in zip(policy.saved_log_probs, returns)]).sum()
    optimizer.zero_grad()
    policy_loss.backward()
    optimizer.step()
    del policy.rewards[:]
    del policy.saved_log_probs[:]
    print(i_episode, policy_loss.item(), running_reward, env.position)
print(env.episodes, env.np_random.random())
sha = hashlib.sha256()
for p in policy.parameters():
    sha.update(p.detach().numpy().tobytes() + optimizer.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
