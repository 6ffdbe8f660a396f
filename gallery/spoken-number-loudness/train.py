import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import clips


class Recordings(Dataset):
    def __init__(self, n, seed):
        self.rng = np.random.default_rng(seed)
        kinds = self.rng.integers(0, 3, n)
        gains = np.where(self.rng.random(n) < 0.01, 9000.0, self.rng.uniform(40, 130, n))
        self.clips = [(clips.record(int(k), g, self.rng), int(k)) for k, g in zip(kinds, gains)]

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, i):
        pcm, kind = self.clips[i]
        contour = clips.loudness(pcm)
        return torch.tensor((contour - 25) / 10, dtype=torch.float32), kind


class Trainer:
    def __init__(self, seed=0):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        self.data = DataLoader(Recordings(500, 8), batch_size=25, shuffle=True)
        self.net = nn.Sequential(nn.Unflatten(1, (1, 20)), nn.Conv1d(1, 12, 5), nn.GELU(), nn.Flatten(), nn.Linear(192, 3))
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)
        self.loss = nn.CrossEntropyLoss()

    def epoch(self):
        losses = []
        for x, y in self.data:
            self.opt.zero_grad()
            loss = self.loss(self.net(x), y)
            loss.backward()
            self.opt.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    def digest(self):
        return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in self.net.parameters())).hexdigest()


if __name__ == "__main__":
    trainer = Trainer()
    for k in range(5):
        print(k, f"{trainer.epoch():.4f}")
    print("weights", trainer.digest())
