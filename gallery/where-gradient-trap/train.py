"""Draw a graph: springs along its edges, repulsion between all pairs of nodes."""

import hashlib

import torch


def edges_of_a_grid(side):
    node = lambda i, j: i * side + j  # noqa: E731
    right = [(node(i, j), node(i, j + 1)) for i in range(side) for j in range(side - 1)]
    down = [(node(i, j), node(i + 1, j)) for i in range(side - 1) for j in range(side)]
    return torch.tensor(right + down)


def spring_energy(position, edges):
    ends = position[edges]
    return ((ends[:, 0] - ends[:, 1]) ** 2).sum()


def repulsion_energy(position):
    apart = position[:, None] - position[None, :]
    squared = (apart**2).sum(dim=-1)
    inverse = 1.0 / squared  # <- origin
    myself = torch.eye(len(position), dtype=torch.bool)
    return torch.where(myself, torch.zeros_like(inverse), inverse).sum()


def energy(position, edges, repulsion):
    total = spring_energy(position, edges)
    if repulsion > 0:
        total = total + repulsion * repulsion_energy(position)
    return total


def layout(side=6, steps=80, settle=5):
    torch.manual_seed(side)
    edges = edges_of_a_grid(side)
    position = (side * torch.rand(side * side, 2)).requires_grad_()
    optimizer = torch.optim.SGD([position], lr=0.01)
    for step in range(steps):
        repulsion = 0.0 if step < settle else 0.05
        loss = energy(position, edges, repulsion)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}: energy {loss.item():.4f}")
    return position.detach(), loss.item()


position, final = layout()
print("final loss", final)
print("weights", hashlib.sha256(position.numpy().tobytes()).hexdigest())
