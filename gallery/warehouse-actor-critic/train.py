"""How much to order for a warehouse: an actor and a critic, each with its optimizer, on simulated days."""

import hashlib

import torch

from agent import Actor, Critic, update
from warehouse import episode

torch.manual_seed(24)
actor, critic = Actor(), Critic()
actor_optimizer = torch.optim.Adam(actor.parameters(), lr=3e-3)
critic_optimizer = torch.optim.SGD(critic.parameters(), lr=0.02)
for number in range(40):
    state, order, returns = episode(actor, days=60)  # <- fault
    actor_loss, critic_loss = update(actor, critic, actor_optimizer, critic_optimizer, state, order, returns)
    if number % 10 == 0:
        print(f"episode {number}: actor {actor_loss:.4f}, critic {critic_loss:.4f}")

print("final loss", critic_loss)
weights = [p.detach().numpy().tobytes() for net in (actor, critic) for p in net.parameters()]
print("weights", hashlib.sha256(b"".join(weights)).hexdigest())
