import torch
import torch.nn.functional as F
from torch import nn


class NameClassifier:
    """Reads names character by character; fit(names, labels), predict(names)."""

    def __init__(self, width=24, lr=5e-3, batch=48, epochs=5, classes=3):
        self.lr = lr
        self.width, self.batch, self.epochs, self.classes = width, batch, epochs, classes
        self.alphabet = {}
        self._build()

    def _build(self):
        self.embed = nn.Embedding(len(self.alphabet) + 1, self.width, padding_idx=0)
        self.conv = nn.Conv1d(self.width, 32, 3, padding=1)
        self.out = nn.Linear(32, self.classes)

    def parameters(self):
        return [p for part in (self.embed, self.conv, self.out) for p in part.parameters()]

    def _encode(self, names):
        ids = torch.zeros(len(names), 18, dtype=torch.long)
        for row, name in enumerate(names):
            for col, ch in enumerate(name[:18]):
                ids[row, col] = self.alphabet.get(ch, 0)
        return ids

    def scores(self, ids):
        h = torch.relu(self.conv(self.embed(ids).transpose(1, 2)))
        return self.out(h.amax(2))

    def fit(self, names, labels):
        self.alphabet = {ch: k for k, ch in enumerate(sorted(set("".join(names))), start=1)}
        self._build()
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        ids, labels = self._encode(names), torch.tensor(labels)
        for epoch in range(self.epochs):
            losses = []
            for pick in torch.randperm(len(ids)).split(self.batch):
                self.optimizer.zero_grad()
                loss = F.cross_entropy(self.scores(ids[pick]), labels[pick])
                loss.backward()
                self.optimizer.step()
                losses.append(loss.item())
            print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
        return self

    @torch.no_grad()
    def predict(self, names):
        return self.scores(self._encode(names)).argmax(1).tolist()
