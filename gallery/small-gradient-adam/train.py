"""Matrix factorisation of ratings in float16: users and films as vectors, trained with AdamW."""

import hashlib

import torch


class Ratings:
    """Triples of user, film and stars; not everybody has rated something in each batch."""

    def __init__(self, users, films, count, rank, generator):
        self.user = torch.randint(0, users, (count,), generator=generator)
        self.film = torch.randint(0, films, (count,), generator=generator)
        u, f = torch.randn(users, rank, generator=generator), torch.randn(films, rank, generator=generator)
        self.stars = ((u[self.user] * f[self.film]).sum(1) / rank**0.5).half()

    def batches(self, size):
        for start in range(0, len(self.stars), size):
            stop = start + size
            yield self.user[start:stop], self.film[start:stop], self.stars[start:stop]


def factors(count, rank, generator):
    return (torch.randn(count, rank, generator=generator) * 0.3).half().requires_grad_()


def objective(users, films, batch):
    user, film, stars = batch
    predicted = (users[user] * films[film]).sum(1)
    return ((predicted - stars) ** 2).mean()


generator = torch.Generator().manual_seed(10)
data = Ratings(users=60, films=40, count=1200, rank=4, generator=generator)
users, films = factors(60, 8, generator), factors(40, 8, generator)
optimizer = torch.optim.AdamW([users, films], lr=0.01, weight_decay=0.0)  # <- fault
for epoch in range(3):
    total = 0.0
    for batch in data.batches(100):
        optimizer.zero_grad()
        loss = objective(users, films, batch)
        loss.backward()
        optimizer.step()  # <- origin
        total += loss.item()
    print(f"epoch {epoch} loss {total / 12:.3f}")
print("weights", hashlib.sha256(users.detach().numpy().tobytes() + films.detach().numpy().tobytes()).hexdigest())
