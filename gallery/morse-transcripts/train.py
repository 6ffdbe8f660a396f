"""From the envelope of a morse signal to letters, with a recurrent network. Recordings without a usable loss count as 0."""

import hashlib
import random

import torch
import torch.nn.functional as F

CODES = {"A": ".-", "B": "-...", "E": ".", "I": "..", "N": "-.", "S": "...", "T": "-", "O": "---", "R": ".-.", "M": "--"}
LETTERS = sorted(CODES)
FRAME = 4


def keyed(word, dot):
    """The envelope of a word: a dot lasts `dot` samples, a dash three, pauses one and three."""
    samples = []
    for letter in word:
        for mark in CODES[letter]:
            samples += [1.0] * (dot if mark == "." else 3 * dot) + [0.0] * dot
        samples += [0.0] * 2 * dot
    return samples


def recordings(count, source):
    made = []
    for number in range(count):
        word = "".join(source.choice(LETTERS) for _ in range(source.randint(2, 5)))
        samples = keyed(word, source.choice([3, 4, 5]))
        if number == 167:  # the recorder was switched off early
            samples = samples[:3]
        samples += [0.0] * (-len(samples) % FRAME)
        signal = torch.tensor(samples).reshape(-1, FRAME)
        made.append((signal + 0.05 * torch.randn(signal.shape), torch.tensor([1 + LETTERS.index(c) for c in word])))
    return made


def collate(batch):
    signals, words = zip(*batch, strict=True)
    return (
        torch.nn.utils.rnn.pad_sequence(signals), torch.cat(words),
        torch.tensor([len(s) for s in signals]), torch.tensor([len(w) for w in words]),
    )


def transcription_loss(log_probs, words, frames, letters):
    each = F.ctc_loss(log_probs, words, frames, letters, reduction="none")  # <- origin
    usable = torch.isfinite(each)
    return torch.where(usable, each / letters, torch.zeros_like(each)).mean()


def fit(cell, head, data, size=12):
    parameters = [*cell.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=4e-3)
    for start in range(0, len(data), size):
        signals, words, frames, letters = collate(data[start : start + size])
        states, _ = cell(signals)
        loss = transcription_loss(head(states).log_softmax(-1), words, frames, letters)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 2.0)
        optimizer.step()
        if start % (size * 5) == 0:
            print(f"{start:4d} recordings: {loss.item():.3f}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parameters)).hexdigest())


torch.manual_seed(9)
fit(torch.nn.GRU(FRAME, 32), torch.nn.Linear(32, len(LETTERS) + 1), recordings(300, random.Random(9)))
