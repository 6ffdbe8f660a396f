"""Next-item recommendation with attention over the history."""
import hashlib

import torch
from data import Histories, collate
from torch import nn
from torch.utils.data import DataLoader, random_split


class Recommender(nn.Module):
    def __init__(self, items, width=32, heads=2):
        super().__init__()
        self.item = nn.Embedding(items + 1, width, padding_idx=0)
        self.place = nn.Parameter(0.02 * torch.randn(Histories.LENGTH, width))
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, items)

    def forward(self, ids):
        h = self.item(ids) + self.place
        padding = ids == 0
        padding[:, -1] = False
        context, _ = self.attend(h, h, h, key_padding_mask=padding)
        return self.score(self.norm(h + context)[:, -1])


class Runner:
    def __init__(self, model, loader, lr):
        self.model, self.loader = model, loader
        self.optim = torch.optim.AdamW(model.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    def epoch(self):
        total = n = 0
        for ids, target in self.loader:
            self.optim.zero_grad()
            loss = self.criterion(self.model(ids), target)
            loss.backward()
            self.optim.step()
            total, n = total + loss.item() * len(ids), n + len(ids)
        return total / n


def main():
    torch.manual_seed(77)
    data = Histories()
    train, _ = random_split(data, [1000, 200], generator=torch.Generator().manual_seed(3))
    loader = DataLoader(train, batch_size=40, shuffle=True, collate_fn=collate)
    runner = Runner(Recommender(data.items), loader, lr=4e-3)
    for e in range(5):
        print(f"epoch {e}: {runner.epoch():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in runner.model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
