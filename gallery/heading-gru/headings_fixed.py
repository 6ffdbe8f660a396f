import torch


class Unit(torch.autograd.Function):
    """Displacements (..., 2) at length one; the slope is what remains of it across the direction."""

    @staticmethod
    def forward(ctx, move):
        length = (move.pow(2).sum(dim=-1, keepdim=True) + 1e-6).sqrt()
        unit = move / length
        ctx.save_for_backward(unit, length)
        return unit

    @staticmethod
    def backward(ctx, slope):
        unit, length = ctx.saved_tensors
        return (slope - (slope * unit).sum(dim=-1, keepdim=True) * unit) / length
