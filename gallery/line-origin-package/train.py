import asyncio
import email
import hashlib
import random

import torch
from torch import nn, optim
from torch.nn.functional import binary_cross_entropy, softmax

from features import WIDTH, hashed_trigrams, lines_of


class OriginNet(nn.Module):
    """Probability that a line was written for asyncio and not for email."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(WIDTH, 40)
        self.score = nn.Linear(40, 1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        h = self.drop(torch.relu(self.hidden(x)))
        return softmax(self.score(h), dim=1).squeeze(1)  # <- origin  # <- fault


def stream(rng, per_class=1100):
    rows = [(l, 1.0) for l in list(lines_of(asyncio))[:per_class]] + [(l, 0.0) for l in list(lines_of(email))[:per_class]]
    rng.shuffle(rows)
    return torch.stack([hashed_trigrams(l) for l, _ in rows]), torch.tensor([t for _, t in rows])


def main():
    torch.manual_seed(19)
    torch.set_num_threads(1)
    x, t = stream(random.Random(4))
    train, test = slice(0, 1920), slice(1920, None)
    net = OriginNet()
    optimizer = optim.NAdam(net.parameters(), lr=4e-3)
    for epoch in range(4):
        net.train()
        for part in torch.arange(len(x))[train].chunk(40):
            loss = binary_cross_entropy(net(x[part]), t[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            hit = ((net(x[test]) > 0.5).float() == t[test]).float().mean()
        print(f"epoch {epoch} loss {loss:.3f} held out {hit:.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    main()
