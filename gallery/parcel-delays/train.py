"""Delay of parcels in minutes against the depot's plan. Losses are log-cosh: square near 0, absolute far away."""
import argparse
import hashlib
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class LogCosh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, r):
        ctx.save_for_backward(r)
        a = r.abs()
        return a + torch.log1p(torch.exp(-2 * a)) - math.log(2)

    @staticmethod
    def backward(ctx, grad):
        (r,) = ctx.saved_tensors
        up, down = torch.exp(r), torch.exp(-r)  # <- fault  # <- origin
        return grad * (up - down) / (up + down)  # <- fault


class Parcels(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 6, generator=g)
        noise = torch.distributions.StudentT(torch.tensor(2.2))
        torch.manual_seed(seed)
        self.y = 4 * self.x[:, 0] - 3 * self.x[:, 1] * self.x[:, 2] + 5 * torch.relu(self.x[:, 3]) + 2 * noise.sample((n,))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--n", type=int, default=4000)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--epochs", type=int, default=3)
    ap.add_argument("--seed", type=int, default=4)
    a = ap.parse_args()
    data = Parcels(a.n, a.seed)
    torch.manual_seed(a.seed)
    net = nn.Sequential(nn.Linear(6, 48), nn.GELU(), nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 1), nn.Flatten(0))
    opt = torch.optim.AdamW(net.parameters(), lr=a.lr)
    dl = DataLoader(data, batch_size=32, shuffle=True)
    for ep in range(a.epochs):
        run = 0.0
        for x, y in dl:
            loss = LogCosh.apply(net(x) - y).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            run += loss.item()
        print(f"[{ep}] {run / len(dl):.3f} min")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    main()
