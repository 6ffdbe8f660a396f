# predicts the next word of docstrings from the four words before it (bag of embeddings with positions)
import ast
import hashlib
import random
import re
import sysconfig
from collections import Counter
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(11)
torch.set_num_threads(1)
random.seed(11)

WINDOW = 4
MAX_WORDS = 1605


def docstrings(names):
    root = Path(sysconfig.get_paths()["stdlib"])
    for name in names:
        tree = ast.parse((root / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node)
                if text:
                    yield re.findall(r"[a-z]+", text.lower())


texts = list(docstrings(["argparse.py", "calendar.py", "difflib.py", "heapq.py", "random.py", "statistics.py", "tarfile.py"]))
random.shuffle(texts)
split = int(0.95 * len(texts))

frequent = [w for w, _ in Counter(w for t in texts[:split] for w in t).most_common(MAX_WORDS)]
index = {w: i for i, w in enumerate(frequent)}
UNKNOWN = len(index)


def encode(words):
    ids = [index.get(w, UNKNOWN) for w in words]
    for i in range(WINDOW, len(ids)):
        if UNKNOWN in ids[i - WINDOW:i]:                # no context that is half unknown
            continue
        yield ids[i - WINDOW:i], ids[i]


pairs = [p for t in texts[:split] for p in encode(t)]
known = sum(n != UNKNOWN for _, n in pairs)
print(f"{len(texts)} docstrings, {len(pairs)} windows, {known} of them with a known next word")
context = torch.tensor([c for c, _ in pairs])
follow = torch.tensor([n for _, n in pairs])

table = nn.Embedding(len(index), 48)
place = nn.Parameter(torch.randn(WINDOW, 48) * 0.1)
mix = nn.Sequential(nn.Linear(48 * WINDOW, 128), nn.GELU(), nn.LayerNorm(128))
scores = nn.Linear(128, len(index) + 1)
everything = [*table.parameters(), place, *mix.parameters(), *scores.parameters()]
optimizer = torch.optim.Adam(everything, lr=2e-3)

for epoch in range(2):
    order = torch.randperm(len(context))
    total = 0.0
    for start in range(0, len(order), 64):
        rows = order[start:start + 64]
        h = mix((table(context[rows]) + place).flatten(1))
        loss = F.cross_entropy(scores(h), follow[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    print(f"epoch {epoch} loss {total / len(order):.3f}")

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in everything)).hexdigest())
