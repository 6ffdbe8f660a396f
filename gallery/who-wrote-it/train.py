"""Which of six modules was a line of source taken from? Letters and their neighbours decide."""

import ast
import hashlib
import inspect
import textwrap
import zipfile
import wave
import tarfile

import torch
from torch import nn
from torch.nn import functional as F

SOURCES = (ast, inspect, textwrap, zipfile, wave, tarfile)
WIDTH = 40


def lines():
    rows, labels = [], []
    for label, module in enumerate(SOURCES):
        text = [line.strip() for line in inspect.getsource(module).splitlines()]
        for line in [line for line in text if len(line) > 15][:160]:
            codes = [min(ord(character), 127) for character in line[:WIDTH]]
            rows.append(codes + [0] * (WIDTH - len(codes)))
            labels.append(label)
    return torch.tensor(rows), torch.tensor(labels)


class Author(nn.Module):
    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(128, 16, padding_idx=0)
        self.pairs = nn.Conv1d(16, 48, 3, padding=1)
        self.author = nn.Linear(48, len(SOURCES))

    def forward(self, codes):
        seen = F.relu(self.pairs(self.letters(codes).transpose(1, 2)))
        return torch.sigmoid(self.author(seen.amax(2)))  # <- fault


def main():
    torch.manual_seed(13)
    codes, labels = lines()
    model = Author()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for epoch in range(14):
        for rows in torch.randperm(len(codes)).split(48):
            loss = F.nll_loss(model(codes[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            right = (model(codes).argmax(1) == labels).float().mean().item()
        print(f"epoch {epoch:2d} loss {loss.item():.4f} right {right:.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
