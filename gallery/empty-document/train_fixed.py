"""Rating from word embeddings: one learned query attends to the words of each review."""

import hashlib
import random

import torch
import torch.nn.functional as F
from torch import nn

random.seed(7)
torch.manual_seed(7)

VOCABULARY, LONGEST = 200, 12
weights = [random.gauss(0, 1) for _ in range(VOCABULARY)]
reviews = [[random.randrange(1, VOCABULARY) for _ in range(random.randint(1, LONGEST))] for _ in range(800)]
reviews[523] = []
ratings = [sum(weights[w] for w in words) / max(len(words), 1) for words in reviews]


class AttentionPooling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) / width**0.5)
        self.key = nn.Linear(width, width)

    def forward(self, words, padding):
        scores = self.key(words) @ self.query
        scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
        attention = torch.softmax(scores, dim=1).masked_fill(padding, 0.0)
        return torch.einsum("bt,btd->bd", attention, words)


class Rater(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.pooling = AttentionPooling(width)
        self.rating = nn.Linear(width, 1)

    def forward(self, tokens):
        return self.rating(self.pooling(self.embedding(tokens), tokens == 0)).squeeze(1)


model = Rater()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
order = list(range(len(reviews)))
random.shuffle(order)

for step in range(0, len(order), 20):
    chosen = order[step : step + 20]
    tokens = torch.tensor([reviews[i] + [0] * (LONGEST - len(reviews[i])) for i in chosen])
    target = torch.tensor([ratings[i] for i in chosen])
    rated = tokens.any(dim=1)  # reviews without words have no rating

    prediction = model(tokens)
    loss = F.mse_loss(prediction[rated], target[rated])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(f"{step:4d} reviews, loss {loss.item():.4f}")

print("final loss", loss.item())
blob = b"".join(p.detach().contiguous().numpy().tobytes() for p in model.parameters())
print("weights", hashlib.sha256(blob).hexdigest())
