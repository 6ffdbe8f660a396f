import hashlib
import textwrap
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Settings:
    window: int = 24
    batch: int = 48
    epochs: int = 3
    hidden: int = 64
    peak: float = 8e-3
    power: float = 0.9
    warmup: int = 10
    sources: list = field(default_factory=lambda: [textwrap.__file__])


class Windows(Dataset):
    """Overlapping pieces of source code and the same shifted by one character."""

    def __init__(self, settings):
        text = "".join(open(path, encoding="utf-8").read() for path in settings.sources)
        self.alphabet = sorted(set(text))
        index = {c: i for i, c in enumerate(self.alphabet)}
        self.codes = torch.tensor([index[c] for c in text])
        self.window = settings.window
        self.starts = range(0, len(self.codes) - self.window - 1, 8)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        piece = self.codes[self.starts[i]:self.starts[i] + self.window + 1]
        return piece[:-1], piece[1:]


class CharGRU(nn.Module):
    def __init__(self, symbols, hidden):
        super().__init__()
        self.embed = nn.Embedding(symbols, 24)
        self.gru = nn.GRU(24, hidden, batch_first=True)
        self.head = nn.Linear(hidden, symbols)

    def forward(self, x):
        return self.head(self.gru(self.embed(x))[0])


def polynomial(settings, data):
    total = settings.epochs * (len(data) // settings.batch)  # <- fault
    decay = lambda step: np.power(np.float64(1 - step / total), settings.power)
    return lambda step: settings.peak * min(1.0, (step + 1) / settings.warmup) * decay(step)


if __name__ == "__main__":
    torch.manual_seed(31)
    settings = Settings()
    data = Windows(settings)
    loader = DataLoader(data, batch_size=settings.batch, shuffle=True)
    model = CharGRU(len(data.alphabet), settings.hidden)
    optimizer = torch.optim.Adam(model.parameters())
    rate = polynomial(settings, data)
    step, smooth = 0, None
    for epoch in range(settings.epochs):
        for x, y in loader:
            for group in optimizer.param_groups:
                group["lr"] = float(rate(step))
            loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()  # <- origin
            smooth = loss.item() if smooth is None else 0.9 * smooth + 0.1 * loss.item()
            if step % 10 == 0:
                print(f"epoch {epoch} step {step} rate {group['lr']:.5f} loss {smooth:.4f}")
            step += 1
    print(f"final loss {smooth:.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
