"""Transfer learning: the statistics of batch normalisation are measured on old recordings, then kept as they are."""

import hashlib

import torch
from torch import nn


class Recogniser(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(16, 24)
        self.norm = nn.BatchNorm1d(24)
        self.words = nn.Linear(24, 4)

    def forward(self, x):
        h = self.norm(self.features(x))
        return self.words(torch.relu(h))


@torch.no_grad()
def measure_statistics(model, recordings):
    model.train()
    for batch in recordings.split(50):
        model(batch[batch.isfinite().all(dim=1)])


def adapt(model, recordings, words, epochs=4):
    model.train()
    model.norm.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        for x, y in zip(recordings.split(30), words.split(30)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")
    return loss.item()


torch.manual_seed(24)
old = torch.randn(500, 16)
old[468, 9] = float("inf")  # the tape was cut here
model = Recogniser()
measure_statistics(model, old)

new = torch.randn(300, 16)
words = (new[:, 0] > 0).long() * 2 + (new[:, 1] > 0).long()
print("final loss", adapt(model, new, words))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
