"""Policy gradient with advantages brought to unit spread, in minibatches of a collected rollout."""

import hashlib

import torch
from torch import nn


def rollout(policy, steps=241):
    state = torch.randn(steps, 5)
    with torch.no_grad():
        action = torch.distributions.Categorical(logits=policy(state)).sample()
    reward = (state[torch.arange(steps), action] > 0).float() + 0.1 * torch.randn(steps)
    return state, action, reward


def policy_loss(policy, state, action, reward):
    advantage = (reward - reward.mean()) / (reward.std() + 1e-8)  # <- origin  # <- fault
    log_prob = torch.log_softmax(policy(state), dim=1).gather(1, action[:, None]).squeeze(1)
    return -(log_prob * advantage).mean()


torch.manual_seed(18)
policy = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 5))
optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)

for update in range(3):
    state, action, reward = rollout(policy)
    print(f"update {update}: mean reward {reward.mean().item():.4f}")
    for rows in torch.randperm(len(state)).split(16):  # <- fault
        loss = policy_loss(policy, state[rows], action[rows], reward[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
        optimizer.step()

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in policy.parameters())).hexdigest())
