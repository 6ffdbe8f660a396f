"""Stars from the words of a review: word frequencies into a linear model, with a list of stop words left out."""

import hashlib
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, random_split

random.seed(12)
torch.manual_seed(12)

GOOD = "fine lovely crisp warm honest generous".split()
BAD = "stale cold rude slow sticky noisy".split()
PLAIN = "the table soup waiter menu corner street bread window glass and of a it was".split()
STOP = set("the and of a it was".split())
VOCABULARY = {word: place for place, word in enumerate(w for w in GOOD + BAD + PLAIN if w not in STOP)}


def write_review():
    stars = random.randint(1, 5)
    words = [random.choice(PLAIN) for _ in range(random.randint(8, 20))]
    words += [random.choice(GOOD if random.random() < stars / 5 else BAD) for _ in range(5)]
    return " ".join(words), stars


reviews = [write_review() for _ in range(700)]
reviews[388] = ("it was", 3)


def frequencies(text):
    counts = torch.zeros(len(VOCABULARY))
    for word in text.split():
        if word in VOCABULARY:
            counts[VOCABULARY[word]] += 1
    return counts / counts.sum().clamp(min=1)


def collate(batch):
    texts, stars = zip(*batch)
    return {"bag": torch.stack([frequencies(text) for text in texts]), "stars": torch.tensor(stars, dtype=torch.float32)}


training, held_out = random_split(reviews, [600, 100])
model = nn.Linear(len(VOCABULARY), 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)

for epoch in range(3):
    for batch in DataLoader(training, batch_size=20, shuffle=True, collate_fn=collate):
        guess = 3 + model(batch["bag"]).squeeze(1)
        loss = nn.functional.mse_loss(guess, batch["stars"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())

print("weights", hashlib.sha256(model.weight.detach().numpy().tobytes() + model.bias.detach().numpy().tobytes()).hexdigest())
