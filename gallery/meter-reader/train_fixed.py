"""Reads strips of handwritten digits (counter readings) without knowing where one digit ends."""
import hashlib

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Strips(IterableDataset):
    """Digits side by side, sometimes overlapping, on strips of whatever width they need."""

    def __init__(self, count, seed):
        self.count, self.seed = count, seed
        bunch = load_digits()
        self.by_digit = [bunch.images[bunch.target == d] / 16 for d in range(10)]

    def strip(self, rng):
        digits = rng.integers(0, 10, rng.integers(3, 6))
        digits[: rng.integers(0, len(digits))] = 0
        pitch = rng.choice([5, 6, 7, 8], p=[0.02, 0.03, 0.15, 0.8])
        paper = np.zeros((8, pitch * (len(digits) - 1) + 8))
        for i, d in enumerate(digits):
            glyph = self.by_digit[d][rng.integers(len(self.by_digit[d]))]
            paper[:, i * pitch : i * pitch + 8] = np.maximum(paper[:, i * pitch : i * pitch + 8], glyph)
        return torch.tensor(paper, dtype=torch.float32), torch.tensor(digits + 1)

    def __iter__(self):
        rng = np.random.default_rng(self.seed)
        for _ in range(self.count):
            yield self.strip(rng)


def collate(strips):
    widths = torch.tensor([paper.shape[1] for paper, _ in strips])
    papers = torch.zeros(len(strips), 1, 8, int(widths.max()))
    for row, (paper, _) in zip(papers, strips):
        row[0, :, : paper.shape[1]] = paper
    digits = [d for _, d in strips]
    return papers, widths, torch.cat(digits), torch.tensor([len(d) for d in digits])


class Reader(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.columns = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, width, (4, 3), padding=(0, 1)), nn.ReLU(), nn.MaxPool2d((1, 2)),
        )
        self.context = nn.GRU(width, width, bidirectional=True)
        self.out = nn.Linear(2 * width, 11)

    def forward(self, papers):
        columns = self.columns(papers).squeeze(2).permute(2, 0, 1)
        return self.out(self.context(columns)[0]).log_softmax(2)


torch.manual_seed(50)
torch.set_num_threads(1)
reader = Reader()
ctc = nn.CTCLoss(zero_infinity=True)
adam = torch.optim.Adam(reader.parameters(), lr=4e-3)
loader = DataLoader(Strips(1500, seed=35), batch_size=12, collate_fn=collate)
for i, (papers, widths, digits, lengths) in enumerate(loader, 1):
    log_probs = reader(papers)
    loss = ctc(log_probs, digits, widths // 4, lengths)
    adam.zero_grad()
    loss.backward()
    adam.step()
    if i % 25 == 0:
        print(f"{i * 12} strips: {loss.item():.3f}")

digest = hashlib.sha256()
for p in reader.parameters():
    digest.update(p.detach().numpy().tobytes())
print("weights", digest.hexdigest())
