"""REINFORCE for a card game in which only some cards may be played in each position."""

import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

CARDS = 8


def positions(count, generator):
    """Hands of cards, which of them may be played, and what each is worth."""
    hands = torch.randn(count, 10, generator=generator)
    legal = torch.rand(count, CARDS, generator=generator) < 0.6
    legal[:, 0] |= ~legal.any(dim=1)
    worth = hands[:, :CARDS].tanh()
    return hands, legal, worth


torch.manual_seed(1)
generator = torch.Generator().manual_seed(99)
hands, legal, worth = positions(1200, generator)
legal[877] = False  # nothing can be played, the game is over

actor = nn.Sequential(nn.Linear(10, 32), nn.ELU(), nn.Linear(32, CARDS))
optimizer = torch.optim.RMSprop(actor.parameters(), lr=2e-3)
step = 0
while step < 50:
    rows = torch.arange(step * 24, (step + 1) * 24)
    rows = rows[legal[rows].any(dim=1)]
    preference = F.softmax(actor(hands[rows]), dim=-1) * legal[rows]
    policy = Categorical(probs=preference)
    card = policy.sample()
    reward = worth[rows].gather(1, card.unsqueeze(1)).squeeze(1)
    loss = -(policy.log_prob(card) * (reward - reward.mean())).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step}: mean reward {reward.mean().item():+.4f}")
    step += 1

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in actor.parameters())).hexdigest())
