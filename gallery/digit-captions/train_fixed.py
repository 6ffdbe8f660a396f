"""Pictures and words in one space: scanned digits against short English captions, contrastively, both ways."""
import hashlib
import random

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

SEED = 3
random.seed(SEED)
np.random.seed(SEED)
torch.manual_seed(SEED)
torch.set_num_threads(1)

WORDS = "zero one two three four five six seven eight nine".split()
FRAMES = ["a scan of the digit {}", "{}", "someone wrote {} here", "the number {} in ink", "handwritten {} on a form"]
DENSITY = ["thin", "", "bold"]

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).div(16).unsqueeze(1)
ink = images.mean((1, 2, 3))
low, high = ink.quantile(0.3), ink.quantile(0.7)
vocabulary = {"<pad>": 0}


def caption(label, amount):
    adjective = DENSITY[0 if amount < low else 2 if amount > high else 1]
    return random.choice(FRAMES).format(f"{adjective} {WORDS[label]}".strip())


def encode(text, length=10):
    ids = [vocabulary.setdefault(w, len(vocabulary)) for w in text.split()]
    return ids[:length] + [0] * (length - len(ids))


texts = torch.tensor([encode(caption(l, a)) for l, a in zip(digits.target, ink)])


class Towers(nn.Module):
    def __init__(self, words, width=48):
        super().__init__()
        self.eye = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.SiLU(), nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(48 * 16, width),
        )
        self.table = nn.Embedding(words, 64, padding_idx=0)
        self.ear = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, width))

    def forward(self, pictures, tokens, temperature):
        shown = (tokens > 0).unsqueeze(-1)
        said = self.ear((self.table(tokens) * shown).sum(1) / shown.sum(1))
        seen = self.eye(pictures)
        said = nn.functional.normalize(said, dim=1)
        seen = nn.functional.normalize(seen, dim=1)
        return seen @ said.T / temperature


def both_ways(scores):
    right = torch.arange(len(scores))
    return 0.5 * (nn.functional.cross_entropy(scores, right) + nn.functional.cross_entropy(scores.T, right))


model = Towers(len(vocabulary))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
step, planned = 0, 2 * (len(images) // 32)
for epoch in range(2):
    order = torch.randperm(len(images))
    for rows in order.split(32)[:-1]:
        temperature = 0.05 * 0.06 ** (step / planned)
        loss = both_ways(model(images[rows], texts[rows], temperature))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 20 == 0:
            print(f"{step:4d} loss {loss.item():.3f}")

state = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
print("weights", hashlib.sha256(state).hexdigest())
