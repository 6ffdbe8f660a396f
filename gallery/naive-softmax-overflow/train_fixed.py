"""Classify noisy one-hot codes. The training loop is a generator, so the caller decides when to stop."""

import hashlib
import itertools

import torch
from torch import nn


def negative_log_likelihood(scores, labels):
    log_probabilities = torch.log_softmax(scores, dim=1)
    return -log_probabilities[torch.arange(len(labels)), labels].mean()


def training(model, optimizer, data):
    for codes, labels in data:
        loss = negative_log_likelihood(model(codes), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def stream(seed):
    generator = torch.Generator().manual_seed(seed)
    for batch in itertools.count():
        labels = torch.randint(10, (32,), generator=generator)
        codes = nn.functional.one_hot(labels, 10) + 0.3 * torch.randn(32, 10, generator=generator)
        if batch == 44:
            codes[21] *= 1000.0 / 1000  # millivolts
        yield codes, labels


torch.manual_seed(3)
model = nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 10))
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
for step, loss in enumerate(training(model, optimizer, stream(seed=6))):
    if step % 10 == 0:
        print(f"step {step}: {loss:.4f}")
    if step == 70:
        break

print("final loss", loss)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
