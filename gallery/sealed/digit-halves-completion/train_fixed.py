"""Complete the lower half of a handwritten digit from its upper half (mixed precision)."""
import argparse
import hashlib

import torch
import torch.nn as nn
from sklearn.datasets import load_digits


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--lr", type=float, default=0.5)
    p.add_argument("--momentum", type=float, default=0.9)
    p.add_argument("--max-norm", type=float, default=1.0)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--epochs", type=int, default=15)
    p.add_argument("--seed", type=int, default=6)
    return p.parse_args()


def halves():
    images = torch.tensor(load_digits().images, dtype=torch.float32) / 16
    return images[:, :4].flatten(1), images[:, 4:].flatten(1)


class Engine:
    def __init__(self, net, args):
        self.net = net
        self.max_norm = args.max_norm
        self.optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=args.momentum, nesterov=True)
        self.scaler = torch.amp.GradScaler("cpu")

    def update(self, upper, lower):
        self.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            logits = self.net(upper)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), lower)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.max_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()


def main():
    args = parse()
    torch.manual_seed(args.seed)
    net = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 32))
    engine = Engine(net, args)
    upper, lower = halves()
    for epoch in range(args.epochs):
        order = torch.randperm(len(upper))
        losses = [engine.update(upper[rows], lower[rows]) for rows in order.split(args.batch_size)]
        mean = sum(losses) / len(losses)
        if epoch % 3 == 0:
            print(f"epoch {epoch} loss {mean:.4f} scale {engine.scaler.get_scale():.0f}")
    print(f"final loss {mean:.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    main()
