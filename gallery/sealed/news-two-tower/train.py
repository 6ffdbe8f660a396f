import hashlib

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from towers import TwoTower

ARTICLES, SECTIONS = 240, 8


class Clicks(Dataset):
    """(articles read before, article clicked); a reader follows one or two sections."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        section = rng.integers(0, SECTIONS, ARTICLES)
        self.rows = []
        for _ in range(n):
            liked = rng.choice(SECTIONS, rng.integers(1, 3), replace=False)
            pool = np.flatnonzero(np.isin(section, liked)) + 1
            length = min(rng.poisson(7.5), 20)
            self.rows.append((torch.tensor(rng.choice(pool, length)), int(rng.choice(pool))))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(rows):
    history = pad_sequence([h for h, _ in rows], batch_first=True)
    return history, torch.tensor([c for _, c in rows])


def main():
    torch.manual_seed(24)
    data = Clicks(3000, seed=24)
    loader = DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate, drop_last=True)
    model = TwoTower(ARTICLES)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    for epoch in range(5):
        running = 0.0
        for step, (history, clicked) in enumerate(loader, 1):
            score = model(history, clicked)
            loss = torch.nn.functional.cross_entropy(score, torch.arange(len(clicked)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch}: {running / step:.4f}")
    print(f"final loss {running / step:.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
