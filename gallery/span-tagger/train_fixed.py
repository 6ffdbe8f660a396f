"""Spans of a sentence are told apart by the mean of their states: do they hold a vowel next to another?"""
import hashlib
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader


def examples():
    rng = random.Random(3)
    found = []
    for _ in range(300):
        words = ["".join(rng.choice("aeioubdgklm") for _ in range(rng.randint(2, 5))) for _ in range(rng.randint(3, 9))]
        middle = len(words) // 2
        found.append((words, (middle - 1, middle + 1), int(any(a + b in words[middle] for a in "aeiou" for b in "aeiou"))))
    words, (start, _), label = found[203]
    found[203] = (words, (start, start), label)
    return found


def collate(items):
    ids = pad_sequence([torch.tensor([hash_of(w) for w in words]) for words, _, _ in items], batch_first=True)
    spans = [span for _, span, _ in items]
    return ids, spans, torch.tensor([label for _, _, label in items])


def hash_of(word):
    return sum(ord(c) * 31**i for i, c in enumerate(word)) % 511 + 1


class SpanModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(512, 24, padding_idx=0)
        self.rnn = nn.GRU(24, 24, batch_first=True)
        self.out = nn.Linear(24, 2)

    def pool(self, states, spans):
        return torch.stack([row[start : max(end, start + 1)].mean(0) for row, (start, end) in zip(states, spans)])

    def forward(self, ids, spans):
        states, _ = self.rnn(self.table(ids))
        return self.out(self.pool(states, spans))


torch.manual_seed(1)
data = examples()
model = SpanModel()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(3):
    for ids, spans, labels in DataLoader(data, batch_size=16, shuffle=True, collate_fn=collate):
        loss = nn.functional.cross_entropy(model(ids, spans), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
