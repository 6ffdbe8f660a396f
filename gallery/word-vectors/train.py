"""GloVe on the comments and docstrings of the standard library."""
import hashlib
import inspect
import re
from collections import Counter

import argparse, ast, asyncio.events, collections, csv, datetime, decimal, logging, pathlib, random, socket, typing, unittest.mock
import numpy as np
import torch


def cooccurrence(vocabulary=400, window=4):
    counts, pairs = Counter(), Counter()
    lines = []
    for module in (argparse, ast, asyncio.events, collections, csv, datetime, decimal, logging, pathlib, random, socket, typing, unittest.mock):
        source = inspect.getsource(module)
        for text in re.findall(r'"""(.*?)"""|#(.*)', source, flags=re.S):
            words = re.findall(r"[a-z]{2,}", " ".join(text).lower())
            counts.update(words)
            lines.append(words)
    index = {w: i for i, (w, _) in enumerate(counts.most_common(vocabulary))}
    for words in lines:
        ids = [index.get(w, -1) for w in words]
        for at, left in enumerate(ids):
            for gap, right in enumerate(ids[at + 1 : at + 1 + window], 1):
                if left >= 0 and right >= 0:
                    pairs[left, right] += 1 / gap
                    pairs[right, left] += 1 / gap
    cells = np.array([(a, b, n) for (a, b), n in pairs.items()])
    return index, torch.tensor(cells[:, :2]).long(), torch.tensor(cells[:, 2]).float()


class GloVe(torch.nn.Module):
    def __init__(self, words, width=24):
        super().__init__()
        self.left = torch.nn.Embedding(words, width)
        self.right = torch.nn.Embedding(words, width)
        self.bias = torch.nn.Parameter(torch.zeros(2, words))
        for table in (self.left, self.right):
            torch.nn.init.normal_(table.weight, std=0.3)

    def forward(self, a, b):
        dot = (self.left(a) * self.right(b)).sum(1)
        return dot + self.bias[0, a] + self.bias[1, b]


class Trainer:
    BASE_RATE, BASE_BATCH = 0.5, 64

    def __init__(self, model, cells, counts):
        self.model, self.cells, self.counts = model, cells, counts
        self.weight = (counts / 20).clamp(max=1) ** 0.75
        self.optimizer = torch.optim.SGD(model.parameters(), lr=self.BASE_RATE, momentum=0.9)
        self.losses = []

    def set_batch(self, batch):
        self.batch = batch
        for group in self.optimizer.param_groups:
            group["lr"] = self.BASE_RATE * batch / self.BASE_BATCH  # <- fault

    def run(self, steps):
        for _ in range(steps):
            rows = torch.randint(len(self.cells), (self.batch,))
            a, b = self.cells[rows].unbind(1)
            miss = self.model(a, b) - self.counts[rows].log()
            loss = (self.weight[rows] * miss**2).mean()  # <- origin
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
        print(f"{len(self.losses)} steps, batch {self.batch}: {np.mean(self.losses[-20:]):.4f}")


torch.manual_seed(9)
torch.set_num_threads(1)
index, cells, counts = cooccurrence()
trainer = Trainer(GloVe(len(index)), cells, counts)
trainer.set_batch(64)
trainer.run(150)
trainer.set_batch(2048)  # the rest in large batches
trainer.run(60)

state = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
print("weights", hashlib.sha256(state).hexdigest())
