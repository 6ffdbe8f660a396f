"""Purchase histories of a shop: what somebody bought last, and what next. Item 0 is padding."""
import random

import torch
from torch.utils.data import Dataset


class Histories(Dataset):
    LENGTH = 10

    def __init__(self, customers=1200, items=40, seed=77):
        rng = random.Random(seed)
        self.items = items
        self.rows = []
        for _ in range(customers):
            at, bought = rng.randrange(1, items + 1), []
            for _ in range(rng.choice([2, 4, 7, 9, 12])):
                at = (at * 3 + rng.choice([1, 1, 1, 2])) % items + 1
                bought.append((at, rng.random() < 0.01))
            target = bought[-1][0]
            # what was sent back does not count as an interest
            kept = [item for item, returned in bought[:-1][-self.LENGTH:] if not returned]
            self.rows.append((kept, target))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(rows):
    ids = torch.zeros(len(rows), Histories.LENGTH, dtype=torch.long)
    for k, (kept, _) in enumerate(rows):
        if kept:
            ids[k, -len(kept):] = torch.tensor(kept)
    return ids, torch.tensor([target for _, target in rows]) - 1
