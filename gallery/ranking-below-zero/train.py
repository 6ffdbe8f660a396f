"""Matrix factorisation of ratings in a trainer class, whose rate falls along a straight line."""

import hashlib

import torch
from torch import nn


class Factors(nn.Module):
    def __init__(self, users, films, width=8):
        super().__init__()
        self.users = nn.Embedding(users, width)
        self.films = nn.Embedding(films, width)
        nn.init.normal_(self.users.weight, std=0.3)
        nn.init.normal_(self.films.weight, std=0.3)

    def forward(self, user, film):
        return (self.users(user) * self.films(film)).sum(dim=1)


class Trainer:
    def __init__(self, model, rate, planned):
        self.model, self.rate, self.planned = model, rate, planned
        self.optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        self.steps = 0

    def current_rate(self):
        left = 1.0 - self.steps / self.planned
        return self.rate * left  # <- fault

    def step(self, user, film, rating):
        for group in self.optimizer.param_groups:
            group["lr"] = self.current_rate()
        self.optimizer.zero_grad()
        error = self.model(user, film) - rating
        loss = error.square().sum()  # <- origin
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return loss.item() / len(rating)

    def run(self, ratings, epochs):
        user, film, rating = ratings
        for epoch in range(epochs):
            for rows in torch.randperm(len(rating)).split(200):
                error = self.step(user[rows], film[rows], rating[rows])
            print(f"epoch {epoch}: mean squared error {error:.3f}")
        return error


torch.manual_seed(19)
truth = Factors(60, 40)
user, film = torch.randint(60, (2000,)), torch.randint(40, (2000,))
with torch.no_grad():
    rating = 5 * truth(user, film) + 0.1 * torch.randn(2000)
model = Factors(60, 40)
print("final error", Trainer(model, rate=0.05, planned=80).run((user, film, rating), epochs=40))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
