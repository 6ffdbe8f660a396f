"""Take the noise out of scanned digits. The loss is the distance to a peak signal-to-noise ratio of 40 dB."""
import hashlib
from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import nn


def psnr(clean, guess, peak=1.0):
    error = (clean - guess).square().mean(dim=(1, 2, 3)) + 1e-8
    return 10 * torch.log10(peak**2 / error)


def shortfall(clean, guess, aim=40.0):
    ratio = psnr(clean, guess).clamp(min=0.0, max=aim)  # <- origin  # <- fault
    return (1 - ratio / aim).mean()


class Residual(nn.Module):
    def __init__(self, width=10):
        super().__init__()
        conv = partial(nn.Conv2d, kernel_size=3, padding=1, padding_mode="reflect")
        self.net = nn.Sequential(conv(1, width), nn.LeakyReLU(0.1), conv(width, width), nn.LeakyReLU(0.1), conv(width, 1))

    def forward(self, noisy):
        return noisy - self.net(noisy)


torch.manual_seed(7)
grey = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) * (255 / 16)
images = grey.round()  # <- fault
grain = 0.15 * images.max()
model = Residual()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
recent = []
for update in range(360):
    clean = images[torch.randint(len(images), (24,))]
    loss = shortfall(clean, model(clean + grain * torch.randn_like(clean)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    recent.append(loss.item())
    if update % 90 == 89:
        print(f"{update + 1} updates: {40 * (1 - sum(recent) / len(recent)):.2f} dB")
        recent.clear()
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
