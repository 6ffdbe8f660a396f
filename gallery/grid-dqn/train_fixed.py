"""Q-learning on a small grid. Moves off the board are illegal; the game ends in the far corner."""

import hashlib
import random
from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.optim as optim

SIDE = 5
MOVES = [(0, 1), (1, 0), (0, -1), (-1, 0)]
Transition = namedtuple("Transition", "state action reward next_state legal done")


class Board:
    def reset(self):
        self.place = (0, 0)
        return self.observe()

    def observe(self):
        state = torch.zeros(SIDE, SIDE)
        state[self.place] = 1
        return state.flatten()

    def legal(self):
        i, j = self.place
        inside = [0 <= i + di < SIDE and 0 <= j + dj < SIDE for di, dj in MOVES]
        return torch.tensor(inside) & (self.place != (SIDE - 1, SIDE - 1))

    def step(self, action):
        di, dj = MOVES[action]
        self.place = (self.place[0] + di, self.place[1] + dj)
        done = self.place == (SIDE - 1, SIDE - 1)
        return self.observe(), 1.0 if done else -0.02, done


def choose(q_net, state, legal, epsilon):
    if random.random() < epsilon:
        return random.choice(legal.nonzero().flatten().tolist())
    with torch.no_grad():
        return q_net(state).masked_fill(~legal, -torch.inf).argmax().item()


def optimize(q_net, target_net, optimizer, memory, gamma=0.95, batch_size=32):
    batch = Transition(*zip(*random.sample(memory, batch_size)))
    state, next_state, legal = torch.stack(batch.state), torch.stack(batch.next_state), torch.stack(batch.legal)
    action, reward = torch.tensor(batch.action), torch.tensor(batch.reward)
    running = 1.0 - torch.tensor(batch.done, dtype=torch.float32)
    with torch.no_grad():
        best = target_net(next_state).masked_fill(~legal, -torch.inf).max(dim=1).values
        expected = reward + gamma * torch.where(running > 0, best, torch.zeros_like(best))
    value = q_net(state).gather(1, action[:, None]).squeeze(1)
    loss = nn.SmoothL1Loss()(value, expected)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    random.seed(1)
    torch.manual_seed(1)
    board, memory = Board(), deque(maxlen=500)
    q_net = nn.Sequential(nn.Linear(SIDE * SIDE, 32), nn.ReLU(), nn.Linear(32, len(MOVES)))
    target_net = nn.Sequential(nn.Linear(SIDE * SIDE, 32), nn.ReLU(), nn.Linear(32, len(MOVES)))
    target_net.load_state_dict(q_net.state_dict())
    optimizer = optim.Adam(q_net.parameters(), lr=2e-3)
    state, loss = board.reset(), 0.0
    for t in range(400):
        legal = board.legal()
        action = choose(q_net, state, legal, epsilon=max(0.1, 1 - t / 200))
        next_state, reward, done = board.step(action)
        memory.append(Transition(state, action, reward, next_state, board.legal(), done))
        state = board.reset() if done else next_state
        if len(memory) >= 40:
            loss = optimize(q_net, target_net, optimizer, memory)
        if t % 50 == 0:
            target_net.load_state_dict(q_net.state_dict())
            print(f"t {t}: loss {loss:.5f}")
    print("final loss", loss)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in q_net.parameters())).hexdigest())


if __name__ == "__main__":
    main()
