"""Which cultivar is the wine (always known), and how strong is it (measured for some bottles only): one body, two heads."""
import hashlib
import torch
import torch.nn.functional as F
from lars_fixed import LARS
from sklearn.datasets import load_wine
from torch import nn

BATCH = 16


class Wine:
    def __init__(self, share_measured=0.26):
        raw = load_wine()
        table = torch.tensor(raw.data, dtype=torch.float32)
        table = (table - table.mean(0)) / table.std(0)
        self.alcohol, self.x = table[:, 0], table[:, 1:]
        self.cultivar = torch.tensor(raw.target)
        self.measured = (torch.rand(len(self.x)) < share_measured).float()

    def batches(self):
        for rows in torch.randperm(len(self.x)).split(BATCH):
            yield self.x[rows], self.cultivar[rows], self.alcohol[rows], self.measured[rows]


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 32), nn.Tanh())
        self.cultivar = nn.Linear(32, 3)
        self.alcohol = nn.Linear(32, 1)

    def forward(self, x):
        h = self.body(x)
        return self.cultivar(h), self.alcohol(h)[:, 0]


class Trainer:
    def __init__(self, model, optimizer, data):
        self.model, self.optimizer, self.data = model, optimizer, data

    def loss(self, x, cultivar, alcohol, measured):
        scores, strength = self.model(x)
        main = F.cross_entropy(scores, cultivar)
        side = (measured * (strength - alcohol) ** 2).sum() / measured.sum().clamp(min=1)
        return main + 0.3 * side

    def fit(self, epochs):
        for epoch in range(epochs):
            total = 0.0
            for batch in self.data.batches():
                self.optimizer.zero_grad()
                loss = self.loss(*batch)
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(batch[0])
            print(f"epoch {epoch:2d} loss {total / len(self.data.x):.4f}")


def main():
    torch.manual_seed(7)
    data = Wine()
    model = TwoHeads()
    Trainer(model, LARS(model.parameters(), lr=0.1), data).fit(20)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
