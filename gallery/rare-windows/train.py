"""Rare events in a sensor stream: one window in ten. TCN with a prior on the positive class."""
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


@dataclass
class Settings:
    prior_logit: float = -3.9
    channels: int = 16
    steps: int = 400
    lr: float = 5e-3


def init_weights(module, bias):
    if isinstance(module, (nn.Conv1d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        module.bias.data.fill_(bias)  # <- fault


class EventNet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        c = cfg.channels
        self.conv1 = nn.Conv1d(1, c, 5, padding=2)
        self.conv2 = nn.Conv1d(c, c, 5, padding=4, dilation=2)
        self.fc = nn.Linear(c, c)
        self.out = nn.Linear(c, 1)
        self.apply(lambda m: init_weights(m, cfg.prior_logit))

    def forward(self, x):
        h = torch.relu(self.conv1(x))
        h = torch.relu(self.conv2(h))
        h = torch.relu(self.fc(h.amax(-1)))  # <- origin
        return self.out(h).squeeze(-1)


def windows(rng, n=64, length=48):
    x = rng.normal(0, 0.3, (n, 1, length)).astype(np.float32)
    y = (rng.random(n) < 0.1).astype(np.float32)
    for i in np.flatnonzero(y):
        at = rng.integers(4, length - 8)
        x[i, 0, at : at + 4] += 1.0
    return torch.from_numpy(x), torch.from_numpy(y)


def fit(cfg):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    net = EventNet(cfg)
    optimizer = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    loss_fn = nn.BCEWithLogitsLoss()
    recent = []
    for step in range(cfg.steps):
        x, y = windows(rng)
        loss = loss_fn(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent.append(loss.item())
        if step % 80 == 79:
            print(step, f"{np.mean(recent[-80:]):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


fit(Settings())
