"""Which module of the standard library does a function belong to? From the words of its docstring, by direction alone."""

import ast
import hashlib
import re
import sysconfig
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

MODULES = ["calendar", "codecs", "difflib", "heapq", "random", "shutil", "statistics", "textwrap"]
PADDING, LENGTH = 0, 24


def corpus():
    folder = Path(sysconfig.get_path("stdlib"))
    for label, name in enumerate(MODULES):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield re.findall(r"[a-z]+", text.lower()), label


class Directions(nn.Module):
    """A text and each module are vectors of length one; the score is the cosine between them."""

    def __init__(self, words, modules, width=20):
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=PADDING)
        self.modules_ = nn.Parameter(torch.randn(modules, width))
        self.sharpness = nn.Parameter(torch.tensor(5.0))

    def forward(self, tokens):
        text = self.words(tokens).sum(dim=1)
        length = (text.pow(2).sum(dim=1, keepdim=True) + 1e-6).sqrt()
        text = text / length
        return self.sharpness * text @ F.normalize(self.modules_, dim=1).t()


torch.manual_seed(1)
texts, labels = zip(*corpus())
counts = Counter(word for text in texts for word in text)
vocabulary = {word: number for number, (word, _) in enumerate(counts.most_common(150), start=1)}
tokens = torch.zeros(len(texts), LENGTH, dtype=torch.long)
for row, text in enumerate(texts):
    known = [vocabulary[word] for word in text if word in vocabulary][:LENGTH]
    tokens[row, : len(known)] = torch.tensor(known, dtype=torch.long)
labels = torch.tensor(labels)

model = Directions(len(vocabulary) + 1, len(MODULES))
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
for epoch in range(6):
    for rows in torch.arange(len(labels)).split(20):
        loss = F.cross_entropy(model(tokens[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
