import hashlib

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import KFold
from torch import nn


class Autoencoder(nn.Module):
    def __init__(self, features, code):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(features, 16), nn.ELU(), nn.Linear(16, code))
        self.dec = nn.Sequential(nn.Linear(code, 16), nn.ELU(), nn.Linear(16, features))

    def forward(self, x):
        return self.dec(self.enc(x))


def as_tensor(table):
    return torch.as_tensor(table, dtype=torch.float32)  # <- fault


def fit(rows, rate=0.01, epochs=5):
    model = Autoencoder(rows.shape[1], 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(32):
            loss = nn.functional.mse_loss(model(batch), batch)  # <- origin
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


torch.manual_seed(0)
table = load_breast_cancer().data  # <- fault
for train, test in KFold(3, shuffle=True, random_state=0).split(table):
    model = fit(as_tensor(table[train]))  # <- fault
    held_out = as_tensor(table[test])
    print(nn.functional.mse_loss(model(held_out), held_out).item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
