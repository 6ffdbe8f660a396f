"""Which module of the standard library does a line of code come from? Bag of words against one direction per module."""
import argparse, collections, email.message, hashlib, inspect, random, re, tarfile, zipfile

import torch
from torch import nn
from torch.nn import functional as F

MODULES = [argparse, email.message, tarfile, zipfile, random]
WORD = re.compile(r"[A-Za-z_]{2,}")


def lines_of(module):
    for line in inspect.getsource(module).splitlines():
        words = WORD.findall(line)
        if len(words) >= 2:
            yield words


def build(min_count=4, max_words=16):
    data = [(words, k) for k, m in enumerate(MODULES) for words in lines_of(m)]
    random.Random(1).shuffle(data)
    freq = collections.Counter(w for words, _ in data for w in words)
    vocab = {w: i + 1 for i, w in enumerate(sorted(w for w in freq if freq[w] >= min_count))}
    ids = torch.zeros(len(data), max_words, dtype=torch.long)
    for row, (words, _) in zip(ids, data):
        known = [vocab[w] for w in words if w in vocab][:max_words]
        row[:len(known)] = torch.tensor(known, dtype=torch.long)
    return ids, torch.tensor([k for _, k in data]), len(vocab) + 1


class Prototypes(nn.Module):
    def __init__(self, n_words, n_classes, dim=32):
        super().__init__()
        self.words = nn.Embedding(n_words, dim, padding_idx=0)
        self.direction = nn.Parameter(torch.randn(n_classes, dim))
        self.sharpness = nn.Parameter(torch.tensor(2.0))

    def forward(self, ids):
        v = self.words(ids).sum(1)
        u = v / v.norm(dim=1, keepdim=True)  # <- origin  # <- fault
        d = F.normalize(self.direction, dim=1)
        return self.sharpness.exp() * u @ d.T


def batches(n, size, epochs, g):
    for _ in range(epochs):
        yield from torch.randperm(n, generator=g).split(size)


ids, labels, n_words = build()
n = int(0.85 * len(ids))
torch.manual_seed(0)
g = torch.Generator().manual_seed(9)
model = Prototypes(n_words, len(MODULES))
opt = torch.optim.Adam(model.parameters(), lr=0.01)
smooth = None
for i, b in enumerate(batches(n, 8, 3, g)):
    loss = F.cross_entropy(model(ids[b]), labels[b])
    opt.zero_grad(); loss.backward(); opt.step()
    smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
    if i % 150 == 0: print(i, "%.4f" % smooth)

with torch.no_grad():
    hit = (model(ids[n:]).argmax(1) == labels[n:]).float().mean().item()
print("held-out accuracy %.3f" % hit)
print("final loss %.4f" % smooth)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
