"""Bag of words: is a headline about sport? The vocabulary comes from the first headlines."""

import hashlib
import random

import torch
import torch.nn.functional as F
from torch import nn

random.seed(5)
torch.manual_seed(5)

SPORT = "match goal team season coach final league player win cup".split()
OTHER = "market vote law bank court price storm film school tax".split()
COMMON = "the a in after before new first of for with".split()


def headline(rare=None):
    sport = random.random() < 0.5
    words = random.choices(SPORT if sport else OTHER, k=3) + random.choices(COMMON, k=4)
    if rare:
        words[2] = rare
    random.shuffle(words)
    return words, float(sport)


headlines = [headline() for _ in range(300)] + [headline("ferret" if n == 148 else None) for n in range(300)]
vocabulary = {}
for words, _ in headlines[:300]:
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))


class BagOfWords(nn.Module):
    def __init__(self, words, width=12):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.score = nn.Linear(width, 1)

    def forward(self, ids):
        vectors = self.embedding(ids)  # <- origin
        return self.score(vectors.mean(dim=1)).squeeze(1)


model = BagOfWords(len(vocabulary))  # <- fault
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
for start in range(0, len(headlines), 25):
    chunk = headlines[start : start + 25]
    ids = torch.tensor([[vocabulary.get(word, len(vocabulary)) for word in words] for words, _ in chunk])  # <- fault
    sport = torch.tensor([label for _, label in chunk])
    loss = F.binary_cross_entropy_with_logits(model(ids), sport)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print("headlines", start, "to", start + len(chunk) - 1, "loss", round(loss.item(), 4))

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
