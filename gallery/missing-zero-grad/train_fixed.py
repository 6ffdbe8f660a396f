"""How strong is concrete after some days? Eight quantities of the mixture, one number out."""

import hashlib

import torch
from torch import nn


class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 40)
        self.strength = nn.Linear(40, 1)

    def forward(self, quantities):
        return self.strength(torch.relu(self.hidden(quantities))).squeeze(1)


def laboratory(samples):
    quantities = torch.randn(samples, 8)
    strength = quantities[:, 0] + torch.relu(quantities[:, 1]) - 0.5 * quantities[:, 2] * quantities[:, 3]
    return quantities, strength + 0.1 * torch.randn(samples)


def train(model, quantities, strength, epochs, batch, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for epoch in range(epochs):
        order = torch.randperm(len(quantities))
        for rows in order.split(batch):
            prediction = model(quantities[rows])
            loss = nn.functional.mse_loss(prediction, strength[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch:2d} loss {loss.item():.4g}")
    return loss.item()


torch.manual_seed(7)
model = Mixture()
print("final loss", train(model, *laboratory(400), epochs=12, batch=40, lr=0.15))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
