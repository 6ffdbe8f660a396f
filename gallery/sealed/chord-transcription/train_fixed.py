# which of 12 notes sound in a short recording (several at once)
import argparse, hashlib
import numpy as np, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ap = argparse.ArgumentParser()
ap.add_argument("--epochs", type=int, default=40)
ap.add_argument("--lr", type=float, default=3e-3)
ap.add_argument("--batch", type=int, default=48)
args = ap.parse_args()
torch.manual_seed(5)
rng = np.random.default_rng(5)

RATE, LENGTH = 4000, 1024
NOTES = 220 * 2 ** (np.arange(12) / 12)


def chord():
    on = rng.random(12) < 0.22
    t = np.arange(LENGTH) / RATE
    x = rng.normal(0, 0.1, LENGTH)
    for f in NOTES[on]:
        a = rng.uniform(0.4, 1.0)
        for h in (1, 2, 3):
            x += a / h * np.sin(2 * np.pi * f * h * t + rng.uniform(0, 6.28))
    return x, on


clips, labels = zip(*[chord() for _ in range(1500)])
spectra = np.log1p(np.abs(np.fft.rfft(np.stack(clips) * np.hanning(LENGTH), axis=1))[:, 30:330])
spectra = (spectra - spectra.mean()) / spectra.std()
data = TensorDataset(torch.tensor(spectra, dtype=torch.float32), torch.tensor(np.stack(labels), dtype=torch.float32))


class Transcriber(nn.Module):
    def __init__(self, bins, notes):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(bins, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.score = nn.Linear(64, notes)

    def forward(self, x):
        return self.score(self.body(x))


def note_loss(score, y):
    hit = y * nn.functional.logsigmoid(score)
    miss = (1 - y) * nn.functional.logsigmoid(-score)
    return -(hit + miss).sum(1).mean()


net = Transcriber(300, 12)
opt = torch.optim.Adam(net.parameters(), lr=args.lr)
for epoch in range(args.epochs):
    total = 0.0
    for x, y in DataLoader(data, args.batch, shuffle=True):
        loss = note_loss(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(x)
    print(f"epoch {epoch} loss {total / len(data):.4f}")
print(f"final loss {total / len(data):.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
