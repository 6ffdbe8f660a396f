"""How many characters of explanation does a function get? From its name and signature, with one output per kind of function."""
import hashlib
import inspect
import math
import re

import torch
from torch import nn

import argparse, ast, asyncio, collections, concurrent.futures, csv, datetime, decimal, difflib, email.message
import fractions, functools, heapq, http.client, inspect as _i, ipaddress, json, logging, pathlib, pickle, random
import shutil, socket, statistics, string, subprocess, tarfile, tempfile, textwrap, threading, typing, unittest, uuid, zipfile

MODULES = [m for m in list(globals().values()) if inspect.ismodule(m) and m.__name__ not in ("torch",)]
BUCKETS = 512


def functions(holder, depth=0):
    for name, thing in sorted(vars(holder).items()):
        if inspect.isfunction(thing) and thing.__doc__:
            yield name, thing
        elif inspect.isclass(thing) and depth == 0:
            yield from functions(thing, 1)


def bucket(word):
    return int(hashlib.md5(word.encode()).hexdigest(), 16) % BUCKETS


rows, kinds, lengths = [], [], []
for module in MODULES:
    for name, thing in functions(module):
        words = re.findall(r"[a-z]+", name.lower()) + list(inspect.signature(thing).parameters)
        rows.append([bucket(w) for w in words] or [0])
        kinds.append(0 if "." not in thing.__qualname__ else 2 if name.startswith("_") else 1)
        lengths.append(math.log(1 + len(inspect.cleandoc(thing.__doc__))))
kinds, lengths = torch.tensor(kinds), torch.tensor(lengths)
print(len(rows), "functions:", *[f"{n} {kind}" for n, kind in zip(kinds.bincount().tolist(), ("free", "methods", "special"))])


class Lars(torch.optim.Optimizer):
    """Layer-wise adaptive rates (You et al. 2017): each tensor moves by a share of its own size."""

    def __init__(self, params, lr, share=0.02, momentum=0.9):
        super().__init__(params, {"lr": lr, "share": share, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                local = group["share"] * p.norm() / p.grad.norm().clamp(min=1e-6)
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(group["momentum"]).add_(local * p.grad, alpha=group["lr"])
                p.sub_(velocity)


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, 16, mode="mean")
        self.mix = nn.Linear(17, 32)
        self.kinds = nn.ModuleList(nn.Linear(32, 1) for _ in range(3))
        for head in self.kinds:
            nn.init.constant_(head.bias, 3.0)

    def forward(self, flat, offsets, count, kind):
        h = torch.tanh(self.mix(torch.cat([self.words(flat, offsets), count.log().unsqueeze(1)], 1)))
        return torch.cat([head(h) for head in self.kinds], 1).gather(1, kind[:, None]).squeeze(1)


torch.manual_seed(6)
torch.set_num_threads(1)
model = Bag()
optimizer = Lars(model.parameters(), lr=0.2)
shuffle = torch.Generator().manual_seed(6)
for epoch in range(5):
    total = 0.0
    for chosen in torch.randperm(len(rows), generator=shuffle).split(36):
        bags = [rows[i] for i in chosen]
        count = torch.tensor([float(len(b)) for b in bags])
        offsets = torch.tensor([0] + [len(b) for b in bags[:-1]]).cumsum(0)
        guess = model(torch.tensor(sum(bags, [])), offsets, count, kinds[chosen])
        loss = nn.functional.mse_loss(guess, lengths[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen) / len(rows)
    print(f"epoch {epoch}: {total:.3f}")

state = hashlib.sha256()
for p in model.parameters():
    state.update(p.detach().numpy().tobytes())
print("weights", state.hexdigest())
