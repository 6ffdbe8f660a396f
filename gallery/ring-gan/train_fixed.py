"""A generator of points on a ring, against a discriminator. Each has its optimizer."""

import hashlib
import math

import torch
from torch import nn


def ring(count):
    angle = 2 * math.pi * torch.rand(count)
    return 8 * torch.stack([angle.cos(), angle.sin()], dim=1) + 0.2 * torch.randn(count, 2)


class Gan:
    def __init__(self, noise=4, width=64):
        self.noise = noise
        self.generator = nn.Sequential(nn.Linear(noise, width), nn.ReLU(), nn.Linear(width, 2))
        self.discriminator = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), lr=5e-3)
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=1e-2)

    def judge(self, points):
        return self.discriminator(points).squeeze(1)

    def train_discriminator(self, real):
        fake = self.generator(torch.randn(len(real), self.noise)).detach()
        caught = nn.functional.logsigmoid(-self.judge(fake))
        loss = -(nn.functional.logsigmoid(self.judge(real)) + caught).mean()
        self.d_optimizer.zero_grad()
        loss.backward()
        self.d_optimizer.step()
        return loss.item()

    def train_generator(self, count):
        loss = -nn.functional.logsigmoid(self.judge(self.generator(torch.randn(count, self.noise)))).mean()
        self.g_optimizer.zero_grad()
        loss.backward()
        self.g_optimizer.step()
        return loss.item()


if __name__ == "__main__":
    torch.manual_seed(1)
    gan = Gan()
    for step in range(400):
        d_loss = gan.train_discriminator(ring(64))
        g_loss = gan.train_generator(64)
        if step % 50 == 0:
            print(f"{step:4d}  discriminator {d_loss:.4f}  generator {g_loss:.4f}")
    print("final loss", d_loss, g_loss)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in gan.generator.parameters())).hexdigest())
