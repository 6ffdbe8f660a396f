"""Which of the waiting jobs does an experienced dispatcher send next? A pointer over a queue of varying length."""
import argparse
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F


def make_queues(n, width, generator):
    jobs = torch.rand(n, width, 4, generator=generator)
    waiting = torch.randint(2, width + 1, (n,), generator=generator)
    present = torch.arange(width) < waiting[:, None]
    urgency = 2 * jobs[..., 0] - jobs[..., 1] + 0.5 * jobs[..., 2] * jobs[..., 3]
    chosen = urgency.masked_fill(~present, -1e9).argmax(1)
    return jobs, present, chosen


class Pointer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(4, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.query = nn.Parameter(torch.randn(dim) * dim ** -0.5)
        self.mix = nn.Linear(2 * dim, dim)

    def forward(self, jobs, present):
        h = self.embed(jobs)
        context = (h * present[..., None]).sum(1, keepdim=True) / present.sum(1)[:, None, None]
        h = torch.tanh(self.mix(torch.cat([h, context.expand_as(h)], -1)))
        scores = torch.einsum("bnd,d->bn", h, self.query)
        return scores.masked_fill(~present, float("-inf"))


def train(args):
    g = torch.Generator().manual_seed(args.seed)
    torch.manual_seed(args.seed)
    jobs, present, chosen = make_queues(1500, 12, g)
    model = Pointer(args.dim)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        smoothing = args.smoothing if epoch >= args.smooth_from else 0.0
        perm = torch.randperm(len(jobs), generator=g)
        total = 0.0
        for idx in perm.split(args.batch_size):
            scores = model(jobs[idx], present[idx])
            labels = F.one_hot(chosen[idx], scores.shape[1]) * (1 - smoothing) + smoothing * present[idx] / present[idx].sum(1, keepdim=True)
            loss = -(labels * scores.log_softmax(1).masked_fill(~present[idx], 0.0)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
        print(f"epoch {epoch} loss {total / len(jobs):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--smooth-from", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())
