"""A letter model of module names; after each epoch the best names are searched with a beam."""

import hashlib
import string
import sys

import torch
from torch import nn

LETTERS = ["<end>", *string.ascii_lowercase, "_"]


class NextLetter(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), width)
        self.memory = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, len(LETTERS))

    def forward(self, letters):
        return self.out(self.memory(self.letters(letters))[0])


@torch.no_grad()
def beam(model, width=4, length=8):
    names = torch.zeros(width, 1, dtype=torch.long)
    scores = torch.full((width,), float("-inf"))
    scores[0] = 0.0  # all beams are the same at first
    finished = torch.zeros(width, dtype=torch.bool)
    for _ in range(length):
        following = model(names)[:, -1].log_softmax(dim=1)
        following[:, LETTERS.index("_")] = float("-inf")
        following[finished] = float("-inf")
        following[finished, 0] = 0.0
        total = (scores[:, None] + following).flatten()
        scores, best = total.topk(width)
        rows, letters = best // len(LETTERS), best % len(LETTERS)
        names = torch.cat([names[rows], letters[:, None]], dim=1)
        finished = finished[rows] | (letters == 0)
    return ["".join(LETTERS[i] for i in name[1:] if i) for name in names.tolist()], scores


torch.manual_seed(52)
words = sorted(name for name in sys.stdlib_module_names if name.strip("_").isalpha() and name.islower())[:160]
rows = torch.zeros(len(words), 14, dtype=torch.long)
for row, word in enumerate(words):
    spelled = [LETTERS.index(letter) for letter in word[:12]]
    rows[row, 1 : len(spelled) + 1] = torch.tensor(spelled)
model = NextLetter()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(6):
    for part in torch.randperm(len(rows)).split(32):
        batch = rows[part]
        loss = nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    names, scores = beam(model)
    print(f"epoch {epoch}: loss {loss.item():.4f}, {names}, worst score {scores.min().item():.2f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
