"""Denoising a one-dimensional signal with a small convolutional autoencoder in float16."""

import argparse
import hashlib
import math

import torch
from torch import nn


class Denoiser(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.encode = nn.Sequential(nn.Conv1d(1, width, 5, padding=2), nn.GELU())
        self.mix = nn.Conv1d(width, width, 5, padding=2, dilation=1)
        self.decode = nn.Conv1d(width, 1, 5, padding=2)

    def forward(self, signal):
        hidden = self.encode(signal)
        hidden = hidden + nn.functional.gelu(self.mix(hidden))
        return self.decode(hidden)


def waves(count, length, generator):
    t = torch.linspace(0, 1, length)
    frequency = torch.rand(count, 1, 1, generator=generator) * 8 + 1
    phase = torch.rand(count, 1, 1, generator=generator) * math.tau
    clean = torch.sin(math.tau * frequency * t + phase)
    return clean, clean + 0.3 * torch.randn(clean.shape, generator=generator)


def train_batch(model, optimizer, noisy, clean):
    scaler = torch.amp.GradScaler("cpu")  # <- fault
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        restored = model(noisy)
    loss = nn.functional.mse_loss(restored.float(), clean, reduction="sum")  # <- origin
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach() / clean.numel()


def main(arguments):
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed + 1)
    model = Denoiser()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    for step in range(arguments.steps):
        clean, noisy = waves(arguments.batch, 64, generator)
        loss = train_batch(model, optimizer, noisy, clean)
        if step % 10 == 0:
            print(f"step {step:3d} error {loss:.4f}")
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    trained = main(parser.parse_args())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in trained.parameters())).hexdigest())
