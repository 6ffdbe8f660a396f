"""Train a small classifier on one of scikit-learn's tables:  train.py --table breast_cancer"""
import argparse
import hashlib

import torch
from sklearn import datasets
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

TABLES = {
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "iris": datasets.load_iris,
}


class TableClassifier(nn.Module):
    def __init__(self, features, classes, width):
        super().__init__()
        columns = 1 if classes == 2 else classes
        self.body = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Linear(features, width), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1),
        )
        self.head = nn.Linear(width, columns)

    def forward(self, x):
        score = self.head(self.body(x))
        return torch.sigmoid(score) if score.shape[1] == 1 else torch.softmax(score, dim=-1)


class ClassifierTrainer:
    def __init__(self, options):
        torch.manual_seed(options.seed)
        table = TABLES[options.table]()
        x = torch.tensor(table.data, dtype=torch.float32)
        y = torch.tensor(table.target)
        self.classes = int(y.max()) + 1
        everything = TensorDataset(x, y)
        held_out = len(everything) // 5
        train, self.test = random_split(everything, [len(everything) - held_out, held_out])
        self.loader = DataLoader(train, batch_size=options.batch, shuffle=True, drop_last=True)
        self.model = TableClassifier(x.shape[1], self.classes, options.width)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=options.lr)

    def criterion(self, p, y):
        if self.classes == 2:
            return nn.functional.binary_cross_entropy(p[:, 0], y.float())
        return nn.functional.nll_loss(torch.log(p + 1e-7), y)

    def epoch(self):
        self.model.train()
        total, count = 0.0, 0
        for x, y in self.loader:
            loss = self.criterion(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total, count = total + loss.item() * len(y), count + len(y)
        return total / count

    @torch.no_grad()
    def accuracy(self):
        self.model.eval()
        x, y = zip(*self.test)
        p = self.model(torch.stack(x))
        guess = (p[:, 0] > 0.5).long() if self.classes == 2 else p.argmax(1)
        return (guess == torch.stack(y)).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", choices=TABLES, default="breast_cancer")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trainer = ClassifierTrainer(options)
    for number in range(options.epochs):
        loss = trainer.epoch()
        print(f"epoch {number:2d}  loss {loss:.4f}  accuracy {trainer.accuracy():.3f}")
    print(f"final loss {loss:.4f}")
    digest = hashlib.sha256()
    for p in trainer.model.parameters():
        digest.update(p.detach().numpy().tobytes())
    print("weights", digest.hexdigest())
