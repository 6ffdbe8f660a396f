import hashlib
import inspect
import io
import re
import tokenize
from collections import Counter

import textwrap, shutil, random, json, csv, configparser, heapq, bisect, difflib, gettext, optparse, pdb, cmd

import torch

torch.manual_seed(21)
torch.set_num_threads(1)


def pieces(module):
    """(text, is_prose) for every comment or long string and for every run of code lines between them"""
    source = inspect.getsource(module)
    code = []
    for tok in tokenize.generate_tokens(io.StringIO(source).readline):
        prose = tok.type == tokenize.COMMENT or (tok.type == tokenize.STRING and len(tok.string) > 60)
        if prose or len(code) > 120:
            if len(code) > 10:
                yield " ".join(code), 0
            code = []
        if prose:
            yield tok.string, 1
        else:
            code.append(tok.string)


texts = [p for m in (textwrap, shutil, random, json, csv, configparser, heapq, bisect, difflib, gettext, optparse, pdb, cmd) for p in pieces(m)]
split = [re.findall(r"[a-z]+|[^\sa-z]", t.lower()) for t, _ in texts]
common = [w for w, _ in Counter(w for s in split for w in s).most_common(400)]
column = {w: k for k, w in enumerate(common)}

x = torch.zeros(len(split), len(common))
for row, words in enumerate(split):
    for w in words:
        if w in column:
            x[row, column[w]] += 1
y = torch.tensor([float(p) for _, p in texts])

w = torch.zeros(len(common), requires_grad=True)
b = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.Adam([w, b], lr=0.02)

for epoch in range(6):
    order = torch.randperm(len(x))
    running = 0.0
    for start in range(0, len(order), 40):
        rows = order[start:start + 40]
        p = torch.sigmoid(x[rows] @ w + b)
        t = y[rows]
        loss = -(t * torch.log(p) + (1 - t) * torch.log(1 - p)).mean()  # <- origin
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item() * len(rows)
    print(epoch, running / len(order))

print("weights", hashlib.sha256(w.detach().numpy().tobytes() + b.detach().numpy().tobytes()).hexdigest())
