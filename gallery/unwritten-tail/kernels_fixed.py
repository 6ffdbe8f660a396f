"""A moving average along the last axis, for arrays that do not fit torch's own pooling. Works in blocks of 64 columns."""

import numpy as np
import torch

BLOCK = 64


def _window_sum(source, target, width):
    columns = source.shape[-1]
    padded = np.pad(source, ((0, 0), (width, width)), mode="edge")
    running = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=-1, dtype=np.float64)
    span = 2 * width + 1
    target[:, :columns] = ((running[:, span:] - running[:, :-span]) / span)[:, :columns]


class Smooth(torch.autograd.Function):
    @staticmethod
    def forward(ctx, signal, width):
        ctx.width = width
        array = signal.numpy()
        padded = np.pad(array, ((0, 0), (width, width)), mode="edge")
        running = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=-1, dtype=np.float64)
        span = 2 * width + 1
        return torch.from_numpy(((running[:, span:] - running[:, :-span]) / span).astype(np.float32))

    @staticmethod
    def backward(ctx, upstream):
        gradient = torch.empty(upstream.shape)
        _window_sum(upstream.numpy(), gradient.numpy(), ctx.width)
        return gradient, None


def smooth(signal, width=2):
    return Smooth.apply(signal, width)
