import torch


def to_srgb(linear):
    """Linear light in 0..1 to display values (IEC 61966-2-1)."""
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)


def to_bytes(display):
    return (display.clamp(0, 1) * 255).round().to(torch.uint8)
