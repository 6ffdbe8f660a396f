"""Learn the inverse kinematics of a planar arm with three links.

The network proposes joint angles; the arm's own forward kinematics says where the hand ends up.
When the validation error has not improved for some rounds, go back to the best state and halve the rate.
"""
import argparse
import hashlib

import torch
from torch import nn

from snapshot import Snapshot

LINKS = torch.tensor([1.0, 0.7, 0.4])


def hand(angles):
    heading = angles.cumsum(1)
    return torch.stack([(LINKS * heading.cos()).sum(1), (LINKS * heading.sin()).sum(1)], 1)


def targets(n, generator):
    radius = 0.5 + 1.4 * torch.rand(n, generator=generator)
    bearing = 2.0 * (torch.rand(n, generator=generator) - 0.5)
    return torch.stack([radius * bearing.cos(), radius * bearing.sin()], 1)


def effort(angles):
    return 1e-3 * angles.square().mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=8e-3)
    parser.add_argument("--patience", type=int, default=2)
    args = parser.parse_args()

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(17)
    held_out = targets(512, generator)
    net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=args.rate)
    best = Snapshot(net, optimizer)
    waited = count = 0

    for r in range(args.rounds):
        for _ in range(args.updates):
            goal = targets(args.batch, generator)
            angles = net(goal)
            loss = (hand(angles) - goal).square().sum(1).mean() + effort(angles)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            count += 1
        with torch.no_grad():
            error = (hand(net(held_out)) - held_out).square().sum(1).mean().item()
        print(f"round {r:2d}  loss {loss.item():.5f}  held out {error:.5f}")
        if error < best.loss:
            best.take(error, count)
            waited = 0
        else:
            waited += 1
            if waited == args.patience:
                print(f"back to {best.loss:.5f}")
                best.restore()
                for group in optimizer.param_groups:
                    group["lr"] /= 2
                waited = 0

    print(f"final loss {loss.item():.5f}")
    digest = hashlib.sha256()
    for p in net.parameters():
        digest.update(p.detach().numpy().tobytes())
    print("weights", digest.hexdigest())


if __name__ == "__main__":
    main()
