"""What kind of line is it? Lines of the standard library's own source, sorted by what they are, with rare kinds weighted up."""

import hashlib
import inspect
import json

import torch
from torch import nn

KINDS = ["blank", "comment", "import", "definition", "return", "decorator", "other", "nonlocal"]


def kind_of(line):
    text = line.strip()
    starts = {"#": 1, "import ": 2, "from ": 2, "def ": 3, "class ": 3, "return": 4, "@": 5, "nonlocal ": 7}
    if not text:
        return 0
    return next((kind for start, kind in starts.items() if text.startswith(start)), 6)


class Lines(torch.utils.data.Dataset):
    def __init__(self, module, length=24):
        lines = inspect.getsource(module).splitlines()
        self.codes = torch.zeros(len(lines), length, dtype=torch.long)
        for row, line in enumerate(lines):
            codes = [min(ord(c), 127) for c in line[:length]]
            self.codes[row, : len(codes)] = torch.tensor(codes, dtype=torch.long)
        self.kinds = torch.tensor([kind_of(line) for line in lines])

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, index):
        return self.codes[index], self.kinds[index]

    def weights(self):
        occurrences = torch.stack([(self.kinds == kind).sum() for kind in range(len(KINDS))])
        return len(self) / (len(KINDS) * occurrences)  # <- fault


class Sorter(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.letters = nn.Embedding(128, width, padding_idx=0)
        self.mix = nn.Conv1d(width, 32, 5, padding=2)
        self.kind = nn.Linear(32, len(KINDS))

    def forward(self, codes):
        h = torch.relu(self.mix(self.letters(codes).transpose(1, 2)))
        return self.kind(h.amax(2))


class Trainer:
    def __init__(self, lines, seed=11):
        torch.manual_seed(seed)
        self.model = Sorter()
        self.loader = torch.utils.data.DataLoader(lines, batch_size=32, shuffle=True)
        self.criterion = nn.CrossEntropyLoss(weight=lines.weights(), label_smoothing=0.05)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3)

    def run(self, epochs):
        for epoch in range(epochs):
            total = 0.0
            for codes, kinds in self.loader:
                loss = self.criterion(self.model(codes), kinds)  # <- origin
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total += loss.item()
            print(f"epoch {epoch}: {total / len(self.loader):.4f}")
        return loss


if __name__ == "__main__":
    trainer = Trainer(Lines(json))
    print("final loss", trainer.run(3).item())
    weights = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
    print("weights", hashlib.sha256(weights).hexdigest())
