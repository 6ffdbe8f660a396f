import torch


def slope_penalty(critic, points):
    """How far the length of the critic's slope is from 1 at each of `points` (count, width)."""
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    squared = slope.pow(2).sum(dim=1)
    length = torch.sqrt(squared)  # <- origin
    return ((length - 1) ** 2).mean()
