"""Which of four notes is it? Recordings of different length, one at a time, gradients collected over eight of them."""

import hashlib
import math

import torch
from torch import nn

NOTES = [220.0, 277.2, 329.6, 440.0]
RATE = 2000


def recording(note, samples):
    time = torch.arange(samples) / RATE
    return torch.sin(2 * math.pi * NOTES[note] * time + torch.rand(1) * 6.28) + 0.1 * torch.randn(samples)


class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.ear = nn.Sequential(nn.Conv1d(1, 16, 16, stride=4), nn.ReLU(), nn.Conv1d(16, 16, 8, stride=2), nn.ReLU())
        self.calm = nn.AvgPool1d(6, stride=3)
        self.note = nn.Linear(16, len(NOTES))

    def forward(self, signal):
        return self.note(self.calm(self.ear(signal)).amax(2))  # <- origin


def lengths(count, generator):
    """Most recordings are about a tenth of a second, a few are clicks."""
    seconds = torch.empty(count).log_normal_(math.log(0.12), 0.4, generator=generator)
    return (seconds * RATE).long().tolist()


def main():
    torch.manual_seed(17)
    generator = torch.Generator().manual_seed(17)
    model = Listener()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    optimizer.zero_grad()
    for number, samples in enumerate(lengths(400, generator)):
        note = number % len(NOTES)
        signal = recording(note, samples)
        heard = model(signal.reshape(1, 1, -1))
        loss = nn.functional.cross_entropy(heard, torch.tensor([note])) / 8
        loss.backward()
        if number % 8 == 7:
            optimizer.step()
            optimizer.zero_grad()
        if number % 80 == 0:
            print(f"{number} recordings: {8 * loss.item():.3f}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
