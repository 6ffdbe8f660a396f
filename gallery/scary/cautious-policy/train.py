"""A cart that may be pushed left or right is to stay in the middle: policy updates with a clipped ratio."""

import torch
from torch import nn
from torch.distributions import Categorical


def ride(policy, value, generator, carts=16, length=30):
    position, speed = 0.5 * torch.randn(carts, generator=generator), torch.zeros(carts)
    states, actions, logs, rewards = [], [], [], []
    for _ in range(length):
        state = torch.stack([position, speed], 1)
        with torch.no_grad():
            chosen = Categorical(logits=policy(state))
            action = torch.multinomial(chosen.probs, 1, generator=generator)[:, 0]
            logs.append(chosen.log_prob(action))
        speed = 0.95 * speed + 0.1 * (action * 2.0 - 1.0)
        position = (position + 0.2 * speed).clamp(-3.0, 3.0)
        states.append(state)
        actions.append(action)
        rewards.append(-position.abs())
    returns, total = [], torch.zeros(carts)
    for reward in reversed(rewards):
        total = reward + 0.9 * total
        returns.insert(0, total)
    return torch.cat(states), torch.cat(actions), torch.cat(logs), torch.cat(returns)


torch.manual_seed(6)
generator = torch.Generator().manual_seed(6)
policy = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
value = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr=5e-3)
for round_ in range(20):
    states, actions, old, returns = ride(policy, value, generator)
    with torch.no_grad():
        advantage = returns - value(states)[:, 0]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
    for rows in torch.randperm(len(states), generator=generator).split(60):
        now = Categorical(logits=policy(states[rows]))
        ratio = (now.log_prob(actions[rows]) - old[rows]).exp()
        gain = torch.min(ratio * advantage[rows], ratio.clamp(0.8, 1.2) * advantage[rows])
        critic = (value(states[rows])[:, 0] - returns[rows]).square()
        loss = -gain.mean() + 0.05 * critic.mean() - 0.01 * now.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
        optimizer.step()
    if round_ % 4 == 0:
        print(f"round {round_:2d} loss {loss.item():.3f} return {returns.mean().item():.3f}")
