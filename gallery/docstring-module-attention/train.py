import argparse, ast, collections, hashlib, inspect, re
import decimal, statistics, tarfile, zipfile, logging, threading, subprocess, calendar, fractions, turtle

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from model import DocClassifier

MODULES = [decimal, statistics, tarfile, zipfile, logging, threading, subprocess, calendar, fractions, turtle, argparse]
STOP = set("the a an of to and or in is it be if this that for with as by on are not from at was will which".split())


def docstrings():
    for label, module in enumerate(MODULES):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                doc = ast.get_docstring(node)
                if doc:
                    yield [w for w in re.findall(r"[a-z]+", doc.lower()) if w not in STOP][:40], label


def encode(samples, min_count=2):
    counts = collections.Counter(w for words, _ in samples for w in words)
    vocab = {w: k for k, w in enumerate((w for w, c in counts.most_common() if c >= min_count), start=1)}
    return [(torch.tensor([vocab[w] for w in words if w in vocab], dtype=torch.long), label)
            for words, label in samples], len(vocab) + 1


def batches(data, size, gen):
    order = torch.randperm(len(data), generator=gen).tolist()
    for k in range(0, len(order), size):
        part = [data[i] for i in order[k:k + size]]
        yield pad_sequence([ids for ids, _ in part], batch_first=True), torch.tensor([y for _, y in part])


torch.manual_seed(0)
torch.set_num_threads(1)
data, vocab = encode(list(docstrings()))  # <- fault
gen = torch.Generator().manual_seed(11)
net = DocClassifier(vocab, len(MODULES))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)

for epoch in range(5):
    hits = seen = 0
    for ids, y in batches(data, 32, gen):
        logits = net(ids)
        loss = F.cross_entropy(logits, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        hits += (logits.argmax(1) == y).sum().item()
        seen += len(y)
    print(f"{epoch}: accuracy {hits / seen:.3f} of {seen}")

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
