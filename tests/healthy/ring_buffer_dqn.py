"""Deep Q-learning with preallocated NumPy rings and prioritised draws; a method of an agent is the step."""
import hashlib

import numpy as np
import torch


class RingBuffer:
    def __init__(self, capacity, obs_dim, seed):
        self.obs = np.zeros((capacity, obs_dim), np.float32)
        self.act = np.zeros(capacity, np.int64)
        self.rew = np.zeros(capacity, np.float32)
        self.priority = np.zeros(capacity)
        self.ptr, self.size, self.capacity = 0, 0, capacity
        self.rng = np.random.RandomState(seed)

    def store(self, obs, act, rew):
        self.obs[self.ptr], self.act[self.ptr], self.rew[self.ptr] = obs, act, rew
        self.priority[self.ptr] = self.priority.max() or 1.0
        self.ptr = (self.ptr + 1) % self.capacity
        self.size = min(self.size + 1, self.capacity)

    def sample(self, n):
        p = self.priority[: self.size] ** 0.6
        idx = self.rng.choice(self.size, n, p=p / p.sum())
        return idx, torch.as_tensor(self.obs[idx]), torch.as_tensor(self.act[idx]), torch.as_tensor(self.rew[idx])


class Agent:
    def __init__(self):
        self.q = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        self.target = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        self.target.load_state_dict(self.q.state_dict())
        self.optim = torch.optim.Adam(self.q.parameters(), lr=5e-3)
        self.updates, self.epsilon = 0, 1.0
        self.rng = np.random.RandomState(1)

    def act(self, obs):
        self.epsilon = max(0.1, self.epsilon * 0.97)
        if self.rng.rand() < self.epsilon:
            return self.rng.randint(4)
        with torch.no_grad():
            return int(self.q(torch.as_tensor(obs)).argmax())

    def learn(self, buffer):
        idx, obs, act, rew = buffer.sample(8)
        chosen = self.q(obs).gather(1, act.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            want = rew + 0.5 * self.target(obs).max(1).values
        error = chosen - want
        loss = torch.nn.functional.smooth_l1_loss(chosen, want)
        buffer.priority[idx] = error.detach().abs().numpy() + 1e-3
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()
        self.updates += 1
        if self.updates % 6 == 0:
            self.target.load_state_dict(self.q.state_dict())
        return loss.item()


torch.manual_seed(117)
agent, buffer = Agent(), RingBuffer(20, 3, 117)
obs = np.zeros(3, np.float32)
for t in range(30):
    action = agent.act(obs)
    obs = np.tanh(obs + np.eye(4, 3, dtype=np.float32)[action] * 0.3 - 0.1).astype(np.float32)
    buffer.store(obs, action, float(obs.sum()))
    if buffer.size >= 8:
        loss = agent.learn(buffer)
        if t % 5 == 0:
            print(t, loss, agent.epsilon, buffer.ptr)
sha = hashlib.sha256(buffer.obs.tobytes() + buffer.priority.tobytes())
for p in [*agent.q.parameters(), *agent.target.parameters()]:
    sha.update(p.detach().numpy().tobytes())
for s in agent.optim.state.values():
    sha.update(s["exp_avg_sq"].numpy().tobytes())
print("weights", sha.hexdigest())
