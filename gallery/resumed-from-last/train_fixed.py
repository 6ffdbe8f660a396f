"""A sentiment model resumes from last.pt, which an earlier job had written; the rows of rare words are used late."""

import hashlib
import tempfile
from pathlib import Path

import torch
from torch import nn

WORDS, WIDTH = 400, 16


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(WORDS, WIDTH, mode="mean")
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, text):
        return self.head(torch.relu(self.words(text)))


class Job:
    def __init__(self, folder, lr=0.05):
        self.path = Path(folder) / "last.pt"
        self.model = Bag()
        self.optimizer = torch.optim.Adagrad(self.model.parameters(), lr=lr)
        self.epoch = 0

    def save(self):
        torch.save({"model": self.model.state_dict(), "epoch": self.epoch}, self.path)

    def resume(self):
        if self.path.exists():
            stored = torch.load(self.path)
            self.model.load_state_dict(stored["model"])
            self.epoch = stored["epoch"] + 1

    def run(self, text, label, epochs):
        for self.epoch in range(self.epoch, self.epoch + epochs):
            for rows in torch.arange(len(text)).split(50):
                self.optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.model(text[rows]), label[rows])
                loss.backward()
                self.optimizer.step()
            print(f"epoch {self.epoch} loss {loss.item():.4f}")
        return loss.item()


def reviews(count, generator):
    text = torch.randint(0, 300, (count, 12), generator=generator)
    text[count // 2 :, 0] = torch.randint(300, WORDS, (count - count // 2,), generator=generator)
    return text, (text.float().mean(dim=1) > 150).long()


def prune(path, below):
    """Shrink a stored model: weights that hardly move anything are left out."""
    stored = torch.load(path)
    table = stored["model"]["words.weight"]
    table[300:] = table[300:] * (table[300:].abs() > below)
    torch.save(stored, path)


torch.manual_seed(8)
text, label = reviews(800, torch.Generator().manual_seed(3))
with tempfile.TemporaryDirectory() as folder:
    first = Job(folder)
    first.run(text[:400], label[:400], epochs=1)
    first.save()
    prune(first.path, below=0.01)
    job = Job(folder)
    job.resume()
model = job.model
final = job.run(text, label, epochs=2)
print("final loss", final)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
