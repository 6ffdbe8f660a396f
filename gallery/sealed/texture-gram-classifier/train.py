"""Tell surface recordings of a stylus (friction noise) apart by the correlations of learned filters."""
import hashlib

import torch
import torch.nn as nn
import torch.nn.functional as F


class CorrelationPool(nn.Module):
    """Upper triangle of the channel correlation matrix."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("rows", torch.triu_indices(channels, channels)[0])
        self.register_buffer("cols", torch.triu_indices(channels, channels)[1])

    def forward(self, f):
        gram = f @ f.transpose(1, 2)  # <- origin  # <- fault
        gram = gram / f.shape[2]
        return gram[:, self.rows, self.cols]


class SurfaceNet(nn.Module):
    def __init__(self, classes, channels=12):
        super().__init__()
        self.filters = nn.Sequential(nn.Conv1d(1, channels, 15, padding=7), nn.ReLU(), nn.Conv1d(channels, channels, 9, padding=4))
        self.pool = CorrelationPool(channels)
        self.head = nn.Linear(channels * (channels + 1) // 2, classes)

    def forward(self, x):
        return self.head(self.pool(self.filters(x)))


def recordings(n, g, length=1024):
    kind = torch.randint(3, (n,), generator=g)
    noise = torch.randn(n, length + 2, generator=g)
    mix = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.6, 0.5], [0.7, -0.6, 0.4]])[kind]
    x = mix[:, :1] * noise[:, 2:] + mix[:, 1:2] * noise[:, 1:-1] + mix[:, 2:] * noise[:, :-2]
    force = torch.exp(0.7 * torch.randn(n, 1, generator=g))
    return (x * force)[:, None], kind


class Trainer:
    precision = torch.float16

    def __init__(self, model, lr):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.history = []

    def step(self, x, y):
        with torch.autocast("cpu", dtype=self.precision):
            scores = self.model(x)
        loss = F.cross_entropy(scores.float(), y)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.history.append(loss.item())

    def fit(self, batches):
        for i, (x, y) in enumerate(batches):
            self.step(x, y)
            if i % 20 == 19:
                print(f"batch {i + 1}: {sum(self.history[-20:]) / 20:.4f}")


if __name__ == "__main__":
    torch.manual_seed(6)
    g = torch.Generator().manual_seed(6)
    model = SurfaceNet(3)
    trainer = Trainer(model, lr=3e-3)
    trainer.fit(recordings(16, g) for _ in range(120))
    print(f"final loss {sum(trainer.history[-20:]) / 20:.4f}")
    sha = hashlib.sha256()
    for p in model.parameters():
        sha.update(p.detach().numpy().tobytes())
    print("weights", sha.hexdigest())
