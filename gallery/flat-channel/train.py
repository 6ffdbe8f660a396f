"""Denoise digits: an encoder whose feature maps are normalised in groups, without an epsilon to keep them exactly unit."""

import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(14)
digits = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16


def weight(*shape):
    return torch.nn.Parameter(torch.randn(*shape) * (2.0 / (shape[1] * shape[2] * shape[3])) ** 0.5)


layers = {"first": weight(8, 1, 3, 3), "second": weight(8, 8, 3, 3), "last": weight(1, 8, 3, 3)}


def denoise(image):
    h = F.relu(F.conv2d(image, layers["first"], padding=1))
    h = F.group_norm(h, 8, eps=0.0)  # <- origin
    h = F.relu(F.conv2d(h, layers["second"], padding=1))
    return F.conv2d(h, layers["last"], padding=1)


optimizer = torch.optim.RMSprop(layers.values(), lr=5e-4)
order = torch.randperm(len(digits))
for step, rows in enumerate(order[:1600].split(16)):
    clean = digits[rows]
    noisy = (clean + 0.2 * torch.randn(clean.shape)).clamp(0, 1)
    loss = F.mse_loss(denoise(noisy), clean)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in layers.values())).hexdigest())
