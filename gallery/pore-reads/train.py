"""Bases from the current through a pore: a strided convolution and CTC, on reads made from a small current table."""
import hashlib
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

BASES = "ACGT"
STRIDE = 2


def read(rnd, level):
    """One read: a strand and its current, two to six samples for each base."""
    strand = [rnd.randrange(4)]
    for _ in range(rnd.randint(7, 15)):
        strand.append(strand[-1] if rnd.random() < 0.3 else rnd.randrange(4))
    fast = rnd.random() < 0.12
    current = []
    for here, after in zip(strand, [*strand[1:], 0]):
        dwell = 2 if fast else rnd.randint(4, 7)
        current += [level[here] + 0.25 * level[after] + rnd.gauss(0, 0.15) for _ in range(dwell)]
    return torch.tensor(current), torch.tensor(strand) + 1


def usable(pair):
    current, strand = pair
    return len(current) // STRIDE >= len(strand)  # <- fault


class Caller(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.near = nn.Conv1d(1, width, 5, padding=2)
        self.down = nn.Conv1d(width, width, 4, stride=STRIDE, padding=1)
        self.call = nn.Linear(width, 1 + len(BASES))

    def forward(self, current):
        h = nn.functional.silu(self.near(current.unsqueeze(1)))
        h = nn.functional.silu(self.down(h))
        return self.call(h.transpose(1, 2)).log_softmax(2)


def batches(reads, size):
    for start in range(0, len(reads), size):
        part = reads[start : start + size]
        yield (
            pad_sequence([c for c, _ in part], batch_first=True),
            pad_sequence([s for _, s in part], batch_first=True),
            torch.tensor([len(c) // STRIDE for c, _ in part]),
            torch.tensor([len(s) for _, s in part]),
        )


def main():
    rnd = random.Random(5)
    torch.manual_seed(5)
    level = [-1.2, -0.4, 0.5, 1.3]
    slow_first = sorted((read(rnd, level) for _ in range(800)), key=lambda pair: -len(pair[0]) // (4 * len(pair[1])))
    reads = [pair for pair in slow_first if usable(pair)]
    model = Caller()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for number, (current, strand, frames, bases) in enumerate(batches(reads, 16)):
        log_p = model(current).transpose(0, 1)
        loss = nn.functional.ctc_loss(log_p, strand, frames, bases)  # <- origin
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number % 8 == 0:
            print(number, f"{loss.item():.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
