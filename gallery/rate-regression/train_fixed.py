"""Claim counts per policy: a Poisson regression, with the length of cover as exposure."""

import hashlib

import torch
from torch import nn


class LogLink(nn.Module):
    """Expected number of claims from the linear predictor and the exposure."""

    def forward(self, predictor, exposure):
        return torch.exp(predictor + torch.log(exposure))


class ClaimModel(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.predictor = nn.Linear(features, 1)
        self.link = LogLink()

    def forward(self, x, exposure):
        return self.link(self.predictor(x).squeeze(1), exposure)


class Trainer:
    def __init__(self, model, lr=0.02, batch_size=25):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        self.batch_size = batch_size
        self.history = []

    def batches(self, *columns):
        for start in range(0, len(columns[0]), self.batch_size):
            yield [column[start : start + self.batch_size] for column in columns]

    def loss(self, x, exposure, claims):
        expected = self.model(x, exposure)
        return (expected - claims * torch.log(expected)).mean()

    def fit(self, x, exposure, claims, epochs):
        for epoch in range(epochs):
            total = 0.0
            for rows in self.batches(x, exposure, claims):
                self.optimizer.zero_grad()
                loss = self.loss(*rows)
                loss.backward()
                self.optimizer.step()
                total += loss.item()
                self.history.append(loss.item())
            print(f"epoch {epoch} mean loss {total * self.batch_size / len(x):.4f}")


def portfolio(seed=5, rows=1000):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator)
    exposure = 0.01 + torch.rand(rows, generator=generator)  # years
    exposure[838] = 120.0 / 12  # one policy was booked in months
    rate = torch.exp(x @ torch.tensor([0.3, -0.2, 0.1, 0.4]) - 0.5)
    claims = torch.poisson(rate * exposure.clamp(max=1.0), generator=generator)
    return x, exposure, claims


if __name__ == "__main__":
    torch.manual_seed(0)
    trainer = Trainer(ClaimModel(features=4))
    trainer.fit(*portfolio(), epochs=3)
    print("final loss", trainer.history[-1])
    state = trainer.model.state_dict()
    print("weights", hashlib.sha256(b"".join(value.numpy().tobytes() for value in state.values())).hexdigest())
