"""Letters from the sources of the standard library: the weights of the classes follow what was seen in the epoch before."""

import calendar
import hashlib
import inspect

import torch
from torch import nn

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class BalancedLoss(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.register_buffer("weight", torch.ones(classes))
        self.register_buffer("seen", torch.zeros(classes))

    def forward(self, scores, target):
        with torch.no_grad():
            self.seen += torch.bincount(target, minlength=len(self.seen))
        losses = nn.functional.cross_entropy(scores, target, reduction="none")
        chosen = self.weight[target]
        return (chosen * losses).sum() / chosen.sum()

    def next_epoch(self):
        self.weight.copy_(self.seen.sum() / (len(self.seen) * self.seen.clamp(min=1)))
        self.seen.zero_()


class Predictor(nn.Module):
    def __init__(self, context=6, width=16):
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), width)
        self.mix = nn.GRU(width, 32, batch_first=True)
        self.next = nn.Linear(32, len(LETTERS))

    def forward(self, window):
        hidden, _ = self.mix(self.letters(window))
        return self.next(hidden[:, -1])


def windows(text, context=6):
    ids = torch.tensor([LETTERS.index(letter) for letter in text.lower() if letter in LETTERS])
    every = ids.unfold(0, context + 1, 1)
    return every[:, :context], every[:, context]


torch.manual_seed(2)
history, target = windows(inspect.getsource(calendar)[:9000])
rare = (target == LETTERS.index("z")).nonzero().flatten()
early, late = history[:900], history[900:4000]
model, criterion = Predictor(), BalancedLoss(len(LETTERS))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(3):
    first = 0 if epoch == 0 else 900
    for rows in (first + torch.arange(900)).split(90):
        loss = criterion(model(history[rows]), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    criterion.next_epoch()
    print(f"epoch {epoch}: {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
