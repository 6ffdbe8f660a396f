"""Find functions of the standard library by what their docstrings say: both become vectors, pairs should point the same way."""

import ast
import hashlib
import re
import sysconfig
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from losses_fixed import InfoNCE

MODULES = ["argparse", "calendar", "codecs", "difflib", "random", "shutil", "statistics"]
BUCKETS = 2048


def documented_functions():
    folder = Path(sysconfig.get_path("stdlib"))
    for name in MODULES:
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield node.name, text


def tokens(text):
    words = re.findall(r"[a-z]+", text.lower()) or ["?"]
    return torch.tensor([zlib.crc32(word.encode()) % BUCKETS for word in words])


class Encoder(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, width, mode="mean")
        self.out = nn.Linear(width, width)

    def forward(self, texts):
        starts = torch.tensor([0] + [len(t) for t in texts[:-1]]).cumsum(0)
        return F.normalize(self.out(torch.tanh(self.words(torch.cat(texts), starts))), dim=1)


torch.manual_seed(7)
pairs = [(tokens(name), tokens(text)) for name, text in documented_functions()]
model = nn.ModuleDict({"name": Encoder(), "text": Encoder()})
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
contrast = InfoNCE(temperature=0.005)
for epoch in range(6):
    for rows in torch.randperm(len(pairs)).split(32):
        names, texts = zip(*(pairs[row] for row in rows))
        loss = contrast(model["name"](names), model["text"](texts))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
