"""Fine grained wine: an MLP on three cultivars with gradient accumulation and mixed precision."""
import argparse
import hashlib

import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def get_args(argv=None):
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--micro-batch", type=int, default=8)
    p.add_argument("--accumulate", type=int, default=3)
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--lr", type=float, default=0.05)
    p.add_argument("--seed", type=int, default=12)
    return p.parse_args(argv)


def load():
    wine = load_wine()
    x = StandardScaler().fit_transform(wine.data)
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(wine.target))


def train_epoch(net, loader, optimizer, scaler, accumulate):
    total = 0.0
    for i, (x, y) in enumerate(loader, start=1):
        with torch.autocast("cpu", dtype=torch.float16):
            loss = nn.functional.cross_entropy(net(x), y) / accumulate  # <- origin
        scaler.scale(loss).backward()
        total += loss.item() * accumulate
        if i % accumulate == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    if i % accumulate != 0:  # what is left of the epoch
        optimizer.step()  # <- fault
        optimizer.zero_grad()
    return total / i


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    loader = DataLoader(load(), batch_size=args.micro_batch, shuffle=True)
    net = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    for epoch in range(args.epochs):
        print(f"epoch {epoch}: loss {train_epoch(net, loader, optimizer, scaler, args.accumulate):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    main()
