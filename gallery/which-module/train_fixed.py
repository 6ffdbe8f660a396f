"""Distils a word-count teacher (naive Bayes) into an embedding: from which module is a line of code?

The student is pulled to the teacher by the reverse divergence, as it should not invent answers.
"""
import hashlib
import inspect
import re
import zlib

import argparse, ast, csv, decimal, difflib, json.encoder, logging, tarfile
import torch
from torch import nn

MODULES = [argparse, ast, csv, decimal, difflib, json.encoder, logging, tarfile]
BUCKETS, LONGEST = 1500, 14


def lines():
    for label, module in enumerate(MODULES):
        for line in inspect.getsource(module).splitlines():
            words = re.findall(r"[A-Za-z]{2,}", line)[:LONGEST]
            if len(words) > 1:
                ids = [1 + zlib.crc32(w.encode()) % (BUCKETS - 1) for w in words]
                yield ids + [0] * (LONGEST - len(ids)), label


class Teacher:
    def __init__(self, tokens, labels, smoothing=2.0, temperature=1.5):
        table = torch.full((len(MODULES), BUCKETS), smoothing)
        table.index_put_((labels[:, None].expand_as(tokens), tokens), torch.ones(()), accumulate=True)
        table = (table / table.sum(1, keepdim=True)).log()
        table[:, 0] = 0
        self.table, self.temperature = table, temperature

    def __call__(self, tokens):
        return self.table[:, tokens].sum(2).T / self.temperature


class Student(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, width, mode="mean", padding_idx=0)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, len(MODULES)))

    def forward(self, tokens):
        return self.layers(self.words(tokens)).log_softmax(1)


class Distillation:
    def __init__(self, teacher, student):
        self.teacher, self.student = teacher, student
        self.optimizer = torch.optim.Adam(student.parameters(), lr=4e-3)

    def soft(self, tokens):
        return torch.softmax(self.teacher(tokens), 1)

    def step(self, tokens):
        guess = self.student(tokens)
        loss = (guess.exp() * (guess - self.soft(tokens).log())).sum(1).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


torch.manual_seed(30)
torch.set_num_threads(1)
tokens, labels = map(torch.tensor, zip(*lines()))
job = Distillation(Teacher(tokens, labels), Student())
order = torch.randperm(len(tokens))[:5000]
for number, rows in enumerate(order.split(32)):
    loss = job.step(tokens[rows])
    if number % 25 == 0:
        print(f"{number:3d} {loss:.3f}")

right = (job.student(tokens).argmax(1) == labels).float().mean().item()
print(f"{right:.1%} of {len(tokens)} lines")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in job.student.parameters())).hexdigest())
