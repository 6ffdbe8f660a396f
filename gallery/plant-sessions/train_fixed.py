"""A soft sensor for the yield of a plant, trained on logs that are scaled session by session."""

import argparse
import hashlib

import numpy as np
import pandas as pd
import torch
import torch.nn as nn


def plant_log(minutes, rng):
    t = np.arange(minutes)
    temperature = 80 + 5 * np.sin(t / 120) + rng.normal(0, 0.4, minutes)
    pressure = 3 + 0.02 * (temperature - 80) + rng.normal(0, 0.03, minutes)
    flow = 12 + rng.normal(0, 0.5, minutes).cumsum() * 0.02
    valve = np.zeros(minutes)
    valve[rng.integers(0, minutes, 40)] = 1.0
    yield_ = 0.4 * pressure + 0.05 * flow + 0.01 * temperature + rng.normal(0, 0.02, minutes)
    valve[minutes // 2 : minutes // 2 + 900] = 0.0
    return pd.DataFrame({"temperature": temperature, "pressure": pressure, "flow": flow, "valve": valve, "yield": yield_})


def scale(block):
    extent = block.max() - block.min()
    return (block - block.min()) / extent.where(extent > 0, 1.0)


def sessions(log, minutes):
    for start in range(0, len(log) - minutes + 1, minutes):
        yield scale(log.iloc[start : start + minutes])


class SessionData(torch.utils.data.IterableDataset):
    def __init__(self, log, session, window):
        self.blocks = [b.to_numpy(np.float32) for b in sessions(log, session)]
        self.window = window

    def __iter__(self):
        for block in self.blocks:
            for i in range(0, len(block) - self.window):
                yield torch.tensor(block[i : i + self.window, :-1]), torch.tensor(block[i + self.window, -1])


class Soft(nn.Module):
    def __init__(self, channels, window):
        super().__init__()
        self.conv1 = nn.Conv1d(channels, 16, 5)
        self.conv2 = nn.Conv1d(16, 16, 5)
        self.fc = nn.Linear(16 * (window - 8), 1)

    def forward(self, x):
        x = torch.relu(self.conv1(x.transpose(1, 2)))
        x = torch.relu(self.conv2(x))
        return self.fc(x.flatten(1)).squeeze(1)


def main(args):
    torch.manual_seed(args.seed)
    log = plant_log(6000, np.random.default_rng(args.seed))
    data = SessionData(log, args.session, args.window)
    loader = torch.utils.data.DataLoader(data, batch_size=args.batch)
    net = Soft(4, args.window)
    opt = torch.optim.Adam(net.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        losses = []
        for x, y in loader:
            opt.zero_grad()
            loss = nn.functional.huber_loss(net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.detach())
        print(f"[{epoch}] {torch.stack(losses).mean():.5f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=6)
    p.add_argument("--session", type=int, default=500)
    p.add_argument("--window", type=int, default=20)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--epochs", type=int, default=2)
    main(p.parse_args())
