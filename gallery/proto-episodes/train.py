"""Prototypical networks (Snell et al. 2017): few-shot episodes of digits, meta-training with distances to class means."""
import hashlib
import random

import torch
from sklearn.datasets import load_digits
from torch import nn

WAYS, SHOTS, QUERIES, EPISODES = 5, 1, 3, 250


class EpisodeSampler:
    def __init__(self, labels, rng):
        self.rng = rng
        self.pool = {c: [i for i, l in enumerate(labels) if l == c] for c in set(labels)}

    def __iter__(self):
        while True:
            ways = self.rng.sample(sorted(self.pool), WAYS)
            support = [self.rng.sample(self.pool[c], SHOTS) for c in ways]
            query = [self.rng.sample(self.pool[c], QUERIES) for c in ways]  # <- fault
            yield torch.tensor(support), torch.tensor(query)


def embed_net():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 16),
    )


def distances(query, prototypes):
    difference = query[:, None, :] - prototypes[None, :, :]
    return difference.pow(2).sum(-1).sqrt()  # <- origin  # <- fault


def episode_loss(net, images, support, query):
    prototypes = net(images[support.flatten()]).view(WAYS, SHOTS, -1).mean(1)
    target = torch.arange(WAYS).repeat_interleave(QUERIES)
    scores = -distances(net(images[query.flatten()]), prototypes)
    return nn.functional.cross_entropy(scores, target), (scores.argmax(1) == target).float().mean()


def main(seed=39):
    torch.manual_seed(seed)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    net = embed_net()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    sampler = EpisodeSampler(digits.target.tolist(), random.Random(seed))
    log = []
    for n, (support, query) in zip(range(EPISODES), sampler):
        loss, accuracy = episode_loss(net, images, support, query)
        opt.zero_grad()
        loss.backward()
        opt.step()
        log.append((loss.item(), accuracy.item()))
        if n % 25 == 24:
            last = torch.tensor(log[-25:]).mean(0)
            print(f"{n + 1:4d} episodes: loss {last[0]:.3f}, accuracy {last[1]:.2f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


main()
