"""Denoising diffusion of the two moons, with a zero terminal signal-to-noise ratio (Lin et al. 2023) and loss weights."""
import copy
import hashlib
import math

import torch
import torch.nn as nn
from sklearn.datasets import make_moons


class Schedule(nn.Module):
    def __init__(self, steps=1000):
        super().__init__()
        self.steps = steps
        u = torch.linspace(0, 1, steps + 1)
        alpha_bar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
        alpha_bar = (alpha_bar / alpha_bar[0])[1:]
        # shift and stretch the square roots so that the last one is 0
        root = alpha_bar.sqrt()
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        alpha_bar = root ** 2
        self.register_buffer("alpha_bar", alpha_bar)
        snr = alpha_bar / (1 - alpha_bar)
        # weight of the loss on the noise which makes it a loss on x_0, within bounds at the clean end
        self.register_buffer("weight", (1 / snr).clamp(min=0.05).sqrt())  # <- fault

    def noise(self, x, t):
        eps = torch.randn_like(x)
        a = self.alpha_bar[t][:, None]
        return a.sqrt() * x + (1 - a).sqrt() * eps, eps


class Denoiser(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 + 8, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2))
        self.register_buffer("freq", 2.0 ** torch.arange(4) * math.pi / 2)

    def forward(self, x, t):
        phase = t[:, None] * self.freq
        return self.net(torch.cat([x, phase.sin(), phase.cos()], 1))


class Diffusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.schedule = Schedule()
        self.denoiser = Denoiser()

    def training_step(self, x):
        t = torch.randint(0, self.schedule.steps, (len(x),))
        noisy, eps = self.schedule.noise(x, t)
        error = (self.denoiser(noisy, t / self.schedule.steps) - eps).square().mean(1)
        return (self.schedule.weight[t] * error).mean()  # <- origin


def update_ema(ema, model, decay):
    with torch.no_grad():
        for e, p in zip(ema.parameters(), model.parameters()):
            e.lerp_(p, 1 - decay)


if __name__ == "__main__":
    torch.manual_seed(12)
    points = torch.tensor(make_moons(800, noise=0.05, random_state=0)[0], dtype=torch.float32)
    points = (points - points.mean(0)) / points.std(0)
    model = Diffusion()
    ema = copy.deepcopy(model.denoiser)
    opt = torch.optim.AdamW(model.denoiser.parameters(), lr=2e-3)
    mean = 0.0
    for it in range(1, 301):
        x = points[torch.randint(0, len(points), (16,))]
        loss = model.training_step(x)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.denoiser.parameters(), 1.0)
        opt.step()
        update_ema(ema, model.denoiser, 0.98)
        mean += loss.item() / 30
        if it % 30 == 0:
            print(f"it {it:4d} weighted loss {mean:.3f}")
            mean = 0.0
    print("weights", hashlib.sha256(b"".join(p.numpy().tobytes() for p in ema.state_dict().values())).hexdigest())
