"""Voice activity from 16-bit sound: level in decibels and zero crossings of each frame."""
import hashlib

import numpy as np
import torch
from torch import nn


def recording(seconds, rng, loud):
    t = np.arange(seconds * 8000) / 8000
    active = (np.sin(2 * np.pi * 0.5 * t) > 0).astype(float)
    tone = np.sin(2 * np.pi * 180 * t) * active * loud + rng.normal(0, 25, len(t))
    return tone.clip(-32768, 32767).astype(np.int16), active


def cut(sound, size=200):
    return sound[: len(sound) // size * size].reshape(-1, size)


def power(frames):
    return (frames * frames).mean(1)  # <- fault


def features(frames):
    level = 10 * np.log10(power(frames))
    crossings = (np.diff(np.signbit(frames), axis=1) != 0).sum(1)
    return np.stack([level / 30, crossings / 50], 1).astype(np.float32)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 8, 3, padding=1)
        self.out = nn.Conv1d(8, 1, 1)

    def forward(self, x):
        return self.out(torch.relu(self.conv(x.T[None])))[0, 0]


rng = np.random.default_rng(0)
torch.manual_seed(0)
model = Detector()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for take in range(30):
    sound, active = recording(6, rng, loud=100 + 10 * take)
    frames = cut(sound)
    x = torch.from_numpy(features(frames))  # <- origin
    y = torch.from_numpy(cut(active).mean(1) > 0.5).float()
    loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(take, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
