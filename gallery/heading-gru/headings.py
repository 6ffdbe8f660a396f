import torch


class Unit(torch.autograd.Function):
    """Displacements (..., 2) at length one; the slope is what remains of it across the direction."""

    @staticmethod
    def forward(ctx, move):
        length = move.norm(dim=-1, keepdim=True)
        unit = move / length  # <- origin
        ctx.save_for_backward(unit, length)
        return unit

    @staticmethod
    def backward(ctx, slope):
        unit, length = ctx.saved_tensors
        return (slope - (slope * unit).sum(dim=-1, keepdim=True) * unit) / length
