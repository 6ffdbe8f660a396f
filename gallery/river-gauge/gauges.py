"""Readings of six gauges upstream, in metres, and the level in town six hours later."""

import torch


def stream(hours, at_once):
    generator = torch.Generator().manual_seed(9)
    for _ in range(hours):
        rain = torch.randn(at_once, 6, generator=generator)
        upstream = 2.0 + 0.7 * rain
        town = 0.9 * rain[:, 0] + 0.6 * rain[:, 2] - 0.5 * rain[:, 4] * rain[:, 5].sign()
        yield upstream, town[:, None]


def standardised(readings):
    spread = readings.std(dim=0)
    scaled = (readings - readings.mean(dim=0)) / spread
    return torch.nan_to_num(scaled)  # a gauge that stands still has no spread  # <- fault
