"""Decode Morse from audio: energy in short frames -> small GRU -> CTC."""
import hashlib

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

CODE = {"e": ".", "t": "-", "i": "..", "a": ".-", "n": "-.", "m": "--", "s": "...", "o": "---"}
LETTERS = "".join(CODE)
RATE, FRAME = 2000, 120


class Keyer(Dataset):
    """Short calls sent by hand; the speed differs from operator to operator."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.calls = []
        for _ in range(count):
            text = "".join(rng.choice(list(LETTERS), size=rng.integers(3, 6)))
            dot = rng.uniform(0.05, 0.07) if rng.random() > 0.012 else rng.uniform(0.008, 0.011)
            self.calls.append((self.sound(text, dot, rng), text))

    @staticmethod
    def sound(text, dot, rng):
        parts = []
        for letter in text:
            for sign in CODE[letter]:
                parts += [(1, 1 if sign == "." else 3), (0, 1)]
            parts.append((0, 2))
        envelope = np.concatenate([np.full(max(1, int(units * dot * RATE)), on, np.float32) for on, units in parts])
        time = np.arange(len(envelope)) / RATE
        return (envelope * np.sin(2 * np.pi * 600 * time) + 0.1 * rng.standard_normal(len(time))).astype(np.float32)

    def __len__(self):
        return len(self.calls)

    def __getitem__(self, index):
        wave, text = self.calls[index]
        frames = torch.from_numpy(wave[:len(wave) // FRAME * FRAME]).reshape(-1, FRAME)
        return frames.abs().reshape(len(frames), 4, -1).mean(-1), torch.tensor([LETTERS.index(c) + 1 for c in text])


def collate(items):
    frames, texts = zip(*items)
    return (pad_sequence(frames, batch_first=True), torch.tensor([len(f) for f in frames]),
            pad_sequence(texts, batch_first=True), torch.tensor([len(t) for t in texts]))


class Ear(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 32, batch_first=True, bidirectional=True)
        self.out = nn.Linear(64, len(LETTERS) + 1)

    def forward(self, frames):
        return self.out(self.gru(2 * frames)[0]).log_softmax(-1)


torch.manual_seed(2)
torch.set_num_threads(1)
ear = Ear()
optimizer = torch.optim.Adam(ear.parameters(), lr=8e-3)
loader = DataLoader(Keyer(640, seed=4), batch_size=16, shuffle=True, collate_fn=collate)
for epoch in range(3):
    sums = 0.0
    for frames, lengths, texts, sizes in loader:
        loss = nn.functional.ctc_loss(ear(frames).transpose(0, 1), texts, lengths, sizes)  # <- origin
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(ear.parameters(), 5.0)
        optimizer.step()
        sums += loss.item()
    print(f"epoch {epoch}: {sums / len(loader):.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in ear.parameters())).hexdigest())
