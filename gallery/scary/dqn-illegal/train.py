"""Q-learning in a corridor with double networks: illegal moves, a running best, a return that has no lower bound."""

import hashlib
import random
from collections import deque

import torch
from torch import nn

LENGTH = 8


def legal(place):
    return [place > 0, place < LENGTH - 1, place % 2 == 0]  # back, on, jump two


def q_loss(net, frozen, batch):
    place, move, reward, after, allowed, done = map(torch.tensor, zip(*batch))
    with torch.no_grad():
        best = frozen(nn.functional.one_hot(after, LENGTH).float()).masked_fill(~allowed, -torch.inf).amax(dim=1)
        target = torch.where(done, reward, reward + 0.9 * best)
    value = net(nn.functional.one_hot(place, LENGTH).float()).gather(1, move[:, None]).squeeze(1)
    return nn.functional.smooth_l1_loss(value, target)


random.seed(60)
torch.manual_seed(60)
net = nn.Sequential(nn.Linear(LENGTH, 24), nn.Tanh(), nn.Linear(24, 3))
frozen = nn.Sequential(nn.Linear(LENGTH, 24), nn.Tanh(), nn.Linear(24, 3)).requires_grad_(False)
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
memory, best_return, lowest = deque(maxlen=400), float("-inf"), float("inf")
for game in range(60):
    if game % 10 == 0:
        frozen.load_state_dict(net.state_dict())
    place, total = 0, 0.0
    for _ in range(12):
        allowed = legal(place)
        move = random.choice([m for m in range(3) if allowed[m]])
        after = min(LENGTH - 1, max(0, place + (-1, 1, 2)[move]))
        done = after == LENGTH - 1
        reward = 1.0 if done else -0.05
        options = [False] * 3 if done else legal(after)
        memory.append((place, move, reward, after, options, done))
        total, place = total + reward, after
        if done:
            break
    best_return, lowest = max(best_return, total), min(lowest, total)
    if len(memory) > 40:
        for _ in range(4):
            loss = q_loss(net, frozen, random.sample(memory, 32))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if game % 15 == 0:
        print(f"game {game}: return {total:.2f}, best {best_return:.2f}, lowest {lowest:.2f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
