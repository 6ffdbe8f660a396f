"""SimSiam on handwritten digits."""
import hashlib

import torch
import torch.nn.functional as F
from augment_fixed import Jitter
from sklearn.datasets import load_digits
from torch import nn

EPOCHS, BATCH = 8, 100


class SimSiam(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.projector = nn.Sequential(nn.Linear(24, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32))
        self.predictor = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 32))

    def forward(self, a, b):
        za, zb = self.projector(self.backbone(a)), self.projector(self.backbone(b))
        pa, pb = self.predictor(za), self.predictor(zb)
        return -0.5 * (F.cosine_similarity(pa, zb.detach()).mean() + F.cosine_similarity(pb, za.detach()).mean())


if __name__ == "__main__":
    torch.manual_seed(21)
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:1000, None] / 16
    net = SimSiam()
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    jitter = Jitter()
    for epoch in range(EPOCHS):
        jitter.strength = epoch / EPOCHS
        total = 0.0
        for rows in torch.randperm(len(images)).split(BATCH):
            x = images[rows]
            loss = net(jitter(x), jitter(x))
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"[{epoch + 1}/{EPOCHS}] loss {total * BATCH / len(images):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
