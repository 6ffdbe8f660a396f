"""REINFORCE on a contextual bandit: entropy bonus, temperature annealed towards greedy play."""

import hashlib

import torch
from torch import nn

CONTEXT, ARMS, BATCH, STEPS = 6, 4, 32, 40


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(CONTEXT, 32), nn.Tanh())
        self.arms = nn.Linear(32, ARMS)

    def forward(self, context, temperature):
        return torch.log_softmax(self.arms(self.body(context)) / temperature, dim=-1)


def entropy(log_probs):
    return -(log_probs.exp() * log_probs).sum(dim=-1).mean()


def policy_loss(log_probs, actions, advantage):
    chosen = log_probs.gather(1, actions)
    return -(chosen * advantage).mean()


def main():
    torch.manual_seed(15)
    payoff = torch.randn(CONTEXT, ARMS)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    baseline = 0.0
    for step in range(STEPS):
        temperature = 0.8**step
        context = torch.randn(BATCH, CONTEXT)
        log_probs = policy(context, temperature)
        actions = torch.multinomial(log_probs.detach().exp(), 1)
        reward = (context @ payoff).gather(1, actions)
        baseline = 0.9 * baseline + 0.1 * reward.mean().item()

        loss = policy_loss(log_probs, actions, reward - baseline) - 0.01 * entropy(log_probs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 0:
            print(f"step {step:3d}  temperature {temperature:.4f}  reward {reward.mean().item():+.3f}  loss {loss.item():+.4f}")

    print("final loss", loss.item())
    digest = hashlib.sha256()
    for parameter in policy.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    print("weights", digest.hexdigest())


if __name__ == "__main__":
    main()
