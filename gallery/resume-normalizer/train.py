"""Fit a value function on a stream of states with a running normalisation; save, and go on from the checkpoint later."""
import hashlib
import os
import tempfile

import torch
from torch import nn


class RunningNorm(nn.Module):
    """Mean and variance over all that was ever seen (Chan et al. 1979), used to standardise what comes in."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("count", torch.tensor(1.0))

    def update(self, x):
        n = x.shape[0]
        total = self.count + n  # <- origin
        delta = x.mean(0) - self.mean
        share = self.count / total
        new_var = self.var * share + x.var(0, correction=0) * (n / total) + delta ** 2 * share * (n / total)
        self.mean.add_(delta * (n / total))
        self.var.copy_(new_var)
        self.count.copy_(total)

    def forward(self, x):
        if self.training:
            self.update(x)
        return (x - self.mean) / (self.var + 1e-5).sqrt()


class Critic(nn.Module):
    def __init__(self, size=6):
        super().__init__()
        self.norm = RunningNorm(size)
        self.body = nn.Sequential(nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.body(self.norm(x)).squeeze(-1)


class Stream:
    def __init__(self, seed, size=6, batch=1024):
        self.gen = torch.Generator().manual_seed(seed)
        self.scale = torch.tensor([1.0, 30.0, 0.2, 5.0, 100.0, 2.0])[:size]
        self.batch = batch

    def __iter__(self):
        while True:
            u = torch.randn(self.batch, len(self.scale), generator=self.gen)
            yield u * self.scale + 2 * self.scale, torch.sin(u[:, 0]) + u[:, 1] * u[:, 2] * 0.5 - 0.3 * u[:, 4].abs()


def save(path, model):
    # checkpoints travel over a slow link
    torch.save({name: value.half() for name, value in model.state_dict().items()}, path)  # <- fault


def load(path, model):
    model.load_state_dict(torch.load(path))


def train(model, stream, updates, label):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for update, (x, value) in zip(range(updates), stream):
        loss = nn.functional.smooth_l1_loss(model(x), value)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 20 == 0:
            print(f"{label} {update:4d} loss {loss.item():.4f}")


def main():
    torch.manual_seed(1)
    path = os.path.join(tempfile.mkdtemp(), "critic.pt")
    critic = Critic()
    train(critic, Stream(1), 100, "first run")
    save(path, critic)

    critic = Critic()
    load(path, critic)
    train(critic, Stream(2), 60, "second run")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in critic.parameters())).hexdigest())


if __name__ == "__main__":
    main()
