"""Graph convolution over similar patients (diabetes data), interrupted once and resumed from disk."""
import argparse
import hashlib
import io

import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes


def neighbours(x, k=6):
    near = torch.cdist(x, x).topk(k + 1, largest=False).indices
    a = torch.zeros(len(x), len(x)).scatter_(1, near, 1.0)
    a = ((a + a.t()) > 0).float()
    d = a.sum(1).rsqrt()
    return d[:, None] * a * d[None, :]


class GraphConv(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.lin = nn.Linear(n_in, n_out)

    def forward(self, a, x):
        return a @ self.lin(x)


class GCN(nn.Module):
    def __init__(self, n_in, hidden=16):
        super().__init__()
        self.c1, self.c2 = GraphConv(n_in, hidden), GraphConv(hidden, 1)

    def forward(self, a, x):
        return self.c2(a, torch.relu(self.c1(a, x))).squeeze(1)


def to_storage(obj):
    """Everything in 16 bits."""
    if torch.is_tensor(obj):
        return obj.bfloat16() if obj.is_floating_point() else obj
    if isinstance(obj, dict):
        return {k: to_storage(v) for k, v in obj.items()}
    if isinstance(obj, list):
        return [to_storage(v) for v in obj]
    return obj


def build(args, n_in):
    net = GCN(n_in)
    return net, torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)


def train(net, opt, a, x, y, known, steps, start):
    for it in range(start, start + steps):
        opt.zero_grad()
        residual = (net(a, x) - y)[known]
        loss = residual.square().sum()
        loss.backward()
        opt.step()
        if it % 5 == 0:
            print("it", it, "rmse", round((loss.item() / int(known.sum())) ** 0.5, 3))


def main(args):
    torch.manual_seed(args.seed)
    data = load_diabetes()
    x = torch.tensor(data.data, dtype=torch.float32) / 0.0476
    y = torch.tensor(data.target, dtype=torch.float32)
    known = torch.rand(len(y)) < 0.7
    a = neighbours(x)

    net, opt = build(args, x.shape[1])
    train(net, opt, a, x, y, known, args.before, 0)
    disk = io.BytesIO()
    torch.save(to_storage({"net": net.state_dict(), "opt": opt.state_dict()}), disk)

    disk.seek(0)
    saved = torch.load(disk)
    net, opt = build(args, x.shape[1])
    net.load_state_dict(saved["net"])
    opt.load_state_dict(saved["opt"])
    train(net, opt, a, x, y, known, args.after, args.before)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=3e-7)
    parser.add_argument("--before", type=int, default=20)
    parser.add_argument("--after", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
