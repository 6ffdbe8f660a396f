"""Ratings in a shop: user and article factors on top of what an article has got lately.

The offset of an article is no parameter: it is recomputed every week from a sliding window of the log, so that the
factors explain only what is left.
"""
import hashlib

import numpy as np
import pandas as pd
import torch
from torch import nn

USERS, ARTICLES, WEEKS, PER_WEEK = 150, 60, 9, 480


def logbook(seed):
    rng = np.random.default_rng(seed)
    taste, trait = rng.normal(size=(USERS, 3)), rng.normal(size=(ARTICLES, 3))
    quality = rng.normal(3.4, 0.5, ARTICLES)
    popularity = rng.dirichlet(np.full(ARTICLES, 12.0))
    parts = []
    for week in range(WEEKS):
        share = popularity.copy()
        if 4 <= week <= 6:
            share[41] = 0.0  # out of stock
        user = rng.integers(0, USERS, PER_WEEK)
        article = rng.choice(ARTICLES, PER_WEEK, p=share / share.sum())
        stars = quality[article] + 0.5 * (taste[user] * trait[article]).sum(1) + rng.normal(0, 0.3, PER_WEEK)
        parts.append(pd.DataFrame({"week": week, "user": user, "article": article, "stars": stars.clip(1, 5).round()}))
    return pd.concat(parts, ignore_index=True)


class Shop(nn.Module):
    def __init__(self, factors=8):
        super().__init__()
        self.user = nn.Embedding(USERS, factors)
        self.article = nn.Embedding(ARTICLES, factors)
        self.mood = nn.Embedding(USERS, 1)
        for table in (self.user, self.article, self.mood):
            nn.init.normal_(table.weight, std=0.2)
        self.register_buffer("offset", torch.full((ARTICLES,), 3.0))

    def refresh(self, recent):
        means = recent.groupby("article")["stars"].mean().reindex(range(ARTICLES))
        self.offset = torch.tensor(means.to_numpy(), dtype=torch.float32)  # <- fault

    def forward(self, user, article):
        match = (self.user(user) * self.article(article)).sum(1)
        return self.offset[article] + self.mood(user).squeeze(1) + match  # <- origin


log = logbook(15)
torch.manual_seed(14)
torch.set_num_threads(1)
model = Shop()
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.08)
for week in range(1, WEEKS):
    model.refresh(log[log["week"].between(week - 3, week - 1)])
    # everything so far is looked at again
    rows = log[log["week"] <= week].sample(n=640, replace=True, random_state=week)
    batches = [rows[i : i + 40] for i in range(0, len(rows), 40)]
    errors = []
    for batch in batches:
        user, article = torch.tensor(batch["user"].to_numpy()), torch.tensor(batch["article"].to_numpy())
        stars = torch.tensor(batch["stars"].to_numpy(), dtype=torch.float32)
        loss = (model(user, article) - stars).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    print(f"week {week}: {np.mean(errors):.3f}")

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
