"""Autoencoder with a classifier on its code; encoder and head have an optimizer each."""
import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class System:
    def __init__(self):
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 12))
        self.decoder = nn.Linear(12, 64)
        self.head = nn.Linear(12, 10)
        self.body = torch.optim.SGD([*self.encoder.parameters(), *self.decoder.parameters()], lr=0.05, momentum=0.9)
        self.top = torch.optim.SGD(self.head.parameters(), lr=0.05, momentum=0.9)

    def clear(self):
        for optimizer in (self.top, self.top):  # <- fault
            optimizer.zero_grad()  # <- fault

    def losses(self, x, y):
        code = self.encoder(x)
        return F.mse_loss(self.decoder(code), x), F.cross_entropy(self.head(code), y)  # <- origin

    def step(self, x, y):
        self.clear()
        rebuild, classify = self.losses(x, y)
        (rebuild + classify).backward()  # <- fault
        self.body.step()
        self.top.step()
        return rebuild.item(), classify.item()


torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 8 - 1, dtype=torch.float32), torch.tensor(y)
system = System()
for step in range(400):
    rows = torch.randint(len(x), (64,))
    told = system.step(x[rows], y[rows])
    if step % 20 == 0:
        print(step, *told)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in system.encoder.parameters())).hexdigest())
