"""Ratings of songs: embeddings of listeners and songs, a small scoring head on top, float16 on the forward pass."""
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F


def make_ratings(listeners=220, songs=140, count=6000, seed=12):
    g = torch.Generator().manual_seed(seed)
    taste, style = torch.randn(listeners, 3, generator=g), torch.randn(songs, 3, generator=g)
    who = torch.randint(listeners, (count,), generator=g)
    what = torch.randint(songs, (count,), generator=g)
    stars = torch.tanh((taste[who] * style[what]).sum(1) / 1.5 + 0.2 * torch.randn(count, generator=g))
    return who, what, stars


class Taste(nn.Module):
    def __init__(self, listeners=220, songs=140, width=16):
        super().__init__()
        self.listener = nn.Embedding(listeners, width)
        self.song = nn.Embedding(songs, width)
        self.inner = nn.Linear(3 * width, 32)
        self.outer = nn.Linear(32, 1)

    def forward(self, who, what):
        u, v = self.listener(who), self.song(what)
        h = torch.relu(self.inner(torch.cat([u, v, u * v], dim=1)))
        return self.outer(h)[:, 0]


class Fit:
    def __init__(self, model):
        self.model = model
        tables = [*model.listener.parameters(), *model.song.parameters()]
        head = [*model.inner.parameters(), *model.outer.parameters()]
        self.tables = torch.optim.Adam(tables, lr=0.02)
        self.head = torch.optim.SGD(head, lr=0.05)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 12)

    def update(self, who, what, stars, with_head):
        self.tables.zero_grad()
        self.head.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            guess = self.model(who, what)
        loss = F.mse_loss(guess.float(), stars)  # <- origin
        self.scaler.scale(loss).backward()
        self.scaler.step(self.tables)
        if with_head:
            self.head.step()  # <- fault
        self.scaler.update()
        return loss.item()


def main():
    torch.manual_seed(3)
    torch.set_num_threads(1)
    who, what, stars = make_ratings()
    fit = Fit(Taste())
    for epoch in range(6):
        losses = [fit.update(who[rows], what[rows], stars[rows], with_head=epoch >= 2) for rows in torch.randperm(len(who)).split(200)]
        print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in fit.model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
