"""Photometric augmentation on whole batches, each image with its own draw."""
import torch


def uniform(n, low, high):
    return (low + (high - low) * torch.rand(n)).view(n, 1, 1, 1)


class Jitter:
    """strength 0 leaves the images alone, 1 is the full range."""

    def __init__(self, contrast=0.5, brightness=0.3, gamma=0.6, noise=0.05):
        self.contrast, self.brightness, self.gamma, self.noise = contrast, brightness, gamma, noise
        self.strength = 1.0

    def __call__(self, x):
        n, s = len(x), self.strength
        x = x * uniform(n, 1 - self.contrast * s, 1 + self.contrast * s)
        x = x + uniform(n, -self.brightness * max(s - 0.25, 0), self.brightness * s)
        x = x.clamp(min=0) ** uniform(n, 1 - self.gamma * s, 1 + self.gamma * s)
        return x + self.noise * torch.randn_like(x)
