"""Offline learning from logged games: a value network, and a policy by advantage-weighted regression."""
import hashlib
import numpy as np
import torch
from torch import nn


def logged_games(count, rng):
    """A player with four buttons. Most games pay about one point, a few pay the jackpot of the third button."""
    state = rng.normal(size=(count, 6)).astype(np.float32)
    good = np.argmax(state[:, :4], axis=1)
    action = np.where(rng.random(count) < 0.55, good, rng.integers(0, 4, count))
    reward = (action == good) * 1.0 + 0.2 * rng.normal(size=count)
    jackpot = (action == 2) & (good == 2) & (state[:, 4] > 1.0) & (rng.random(count) < 0.02)
    return state, action, (reward + 9.0 * jackpot).astype(np.float32)


class Batches:
    def __init__(self, arrays, size, seed):
        self.arrays = [torch.from_numpy(a) for a in arrays]
        self.size = size
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self):
        order = torch.randperm(len(self.arrays[0]), generator=self.generator)
        for rows in order.split(self.size):
            yield [a[rows] for a in self.arrays]


def mlp(inputs, outputs, hidden=64):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, outputs))


class Learner:
    def __init__(self, temperature):
        self.temperature = temperature
        self.policy, self.value = mlp(6, 4), mlp(6, 1)
        self.optimizer = torch.optim.Adam([
            {"params": self.policy.parameters(), "lr": 1e-3}, {"params": self.value.parameters(), "lr": 2e-3}])

    def update(self, state, action, reward):
        value = self.value(state).squeeze(1)
        value_loss = nn.functional.smooth_l1_loss(value, reward)
        advantage = reward - value.detach()
        weight = torch.exp((advantage / self.temperature).clamp(max=5.0))
        weight = weight / weight.mean()
        surprise = nn.functional.cross_entropy(self.policy(state), action, reduction="none")
        policy_loss = (weight * surprise).mean()
        self.optimizer.zero_grad()
        (policy_loss + value_loss).backward()
        self.optimizer.step()
        return value_loss.item(), policy_loss.item()


if __name__ == "__main__":
    torch.manual_seed(0)
    state, action, reward = logged_games(12000, np.random.default_rng(8))
    learner = Learner(temperature=0.1)
    batches = Batches((state, action, reward), size=100, seed=1)
    for epoch in range(3):
        losses = []
        for number, batch in enumerate(batches):
            losses.append(learner.update(*batch))
            if number % 20 == 0:
                print("epoch %d batch %d value loss %.4f policy loss %.4f" % (epoch, number, *losses[-1]))
    print("final loss %.4f" % np.mean([p for _, p in losses]))
    parameters = [*learner.policy.parameters(), *learner.value.parameters()]
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parameters)).hexdigest())
