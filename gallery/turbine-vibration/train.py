import hashlib

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

# Which bearing of a wind turbine is worn? Accelerometer windows, three channels, 64 samples each.
RATE = 640.0


def record(wear, rng, n=64):
    t = np.arange(n) / RATE
    base = rng.uniform(18, 24)
    signal = np.stack([np.sin(2 * np.pi * base * t + rng.uniform(0, 6.28)) * a for a in (1.0, 0.8, 0.5)])
    if wear == 1:
        signal[0] += 0.7 * np.sin(2 * np.pi * 5.4 * base * t)
    elif wear == 2:
        signal[1] += 1.2 * (np.arange(n) % 16 == rng.integers(16))
    elif wear == 3:
        signal[2] *= 1 + 0.8 * np.sin(2 * np.pi * 4 * t)
    return signal + rng.normal(0, 0.25, signal.shape)


class Windows(Dataset):
    def __init__(self, count, rng):
        self.wear = rng.integers(0, 4, count)
        frames = []
        for i, wear in enumerate(self.wear):
            frame = pd.DataFrame(record(wear, rng).T.round(4), columns=["x", "y", "z"])
            frame.insert(0, "window", i)
            frames.append(frame)
        table = pd.concat(frames, ignore_index=True)
        table.loc[table.index[611 * 64 + 17], "y"] = float("4.07e21")
        self.table = table.set_index("window")
        self.signals = torch.tensor(table[["x", "y", "z"]].to_numpy().reshape(count, 64, 3), dtype=torch.float32)  # <- fault

    def __len__(self):
        return len(self.wear)

    def __getitem__(self, i):
        return self.signals[i].T, int(self.wear[i])


class Bearing(nn.Module):
    def __init__(self, filters=24):
        super().__init__()
        self.bank = nn.Conv1d(3, filters, 16, bias=False)
        self.classify = nn.Sequential(nn.Linear(2 * filters, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x):
        bands = self.bank(x)
        power = bands.square().mean(-1)  # <- origin
        peak = bands.abs().amax(-1)
        return self.classify(torch.cat([torch.log(power + 1e-3), torch.log(peak + 1e-3)], 1))


torch.manual_seed(40)
torch.set_num_threads(1)
windows = Windows(1200, np.random.default_rng(40))
model = Bearing()
optimizer = torch.optim.NAdam(model.parameters(), lr=3e-3)
draw = RandomSampler(windows, generator=torch.Generator().manual_seed(2))
for epoch in range(3):
    hits = 0
    for signal, wear in DataLoader(windows, batch_size=24, sampler=draw):
        scores = model(signal)
        loss = nn.functional.cross_entropy(scores, wear)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        hits += (scores.argmax(1) == wear).sum().item()
    print(f"epoch {epoch}: accuracy {hits / len(windows):.3f}")

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
