#!/usr/bin/env python
import argparse
import hashlib
import os
import random
import sys

import numpy as np
import torch
import torch.nn as nn


def parse_args(argv=None):
    p = argparse.ArgumentParser(description="fit a line to noise")
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--lr", type=float, default=0.03)
    p.add_argument("--seed", type=int, default=66)
    p.add_argument("--output-dir", default="out")
    p.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
    return p.parse_args(argv)


def set_seed(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def main(args):
    print(args, os.path.basename(sys.argv[0]), len(sys.argv))
    set_seed(args.seed)
    os.makedirs(args.output_dir, exist_ok=True)
    model = nn.Linear(10, 1)
    opt = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[args.optimizer](model.parameters(), lr=args.lr)
    x = torch.from_numpy(np.random.randn(50, 10).astype("float32"))
    y = torch.from_numpy(np.random.randn(50, 1).astype("float32"))
    for epoch in range(args.epochs):
        indices = list(range(50))
        random.shuffle(indices)
        for i in range(0, 50, 10):
            batch = indices[i : i + 10]
            loss = nn.functional.mse_loss(model(x[batch]), y[batch])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
        torch.save({"model": model.state_dict(), "opt": opt.state_dict(), "epoch": epoch}, os.path.join(args.output_dir, "last.pt"))
    loaded = torch.load(os.path.join(args.output_dir, "last.pt"))
    assert loaded["epoch"] == args.epochs - 1
    sha = hashlib.sha256()
    for v in loaded["model"].values():
        sha.update(v.numpy().tobytes())
    for s in loaded["opt"]["state"].values():
        sha.update(s["exp_avg"].numpy().tobytes())
    print("weights", sha.hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main(parse_args()))
