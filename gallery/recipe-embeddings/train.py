"""Ingredient embeddings from recipes, with a factored adaptive optimizer to save memory."""
import hashlib

import torch
from torch import nn


class Factored(torch.optim.Optimizer):
    """Second moments kept as one row and one column mean."""

    def __init__(self, params, lr=1e-2, decay=0.95):
        super().__init__(params, dict(lr=lr, decay=decay))

    def denominator(self, gradient, state, decay):
        square = gradient * gradient
        if gradient.dim() < 2:
            state.setdefault("full", torch.zeros_like(gradient)).lerp_(square, 1 - decay)
            return state["full"].sqrt() + 1e-6
        rows = state.setdefault("rows", torch.zeros_like(square[:, 0]))
        columns = state.setdefault("columns", torch.zeros_like(square[0]))
        rows.lerp_(square.mean(1), 1 - decay)
        columns.lerp_(square.mean(0), 1 - decay)
        return torch.outer(rows / rows.mean(), columns).sqrt()

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = parameter.grad / self.denominator(parameter.grad, self.state[parameter], group["decay"])  # <- origin
                parameter.add_(update, alpha=-group["lr"])


class Pairing(nn.Module):
    def __init__(self, ingredients, dim):
        super().__init__()
        self.table = nn.Embedding(ingredients, dim)
        self.context = nn.Linear(dim, ingredients)

    def forward(self, basket):
        return self.context(self.table(basket).mean(1))


def baskets(ingredients, batch):
    cuisine = torch.randint(0, 5, (batch, 1))
    members = (cuisine * 16 + torch.randint(0, 16, (batch, 6))) % ingredients
    return members[:, :5], members[:, 5]


def main():
    torch.manual_seed(0)
    model = Pairing(80, 24)
    optimizer = Factored(model.parameters(), lr=5e-3)
    for step in range(120):
        basket, missing = baskets(80, 12)
        loss = nn.functional.cross_entropy(model(basket), missing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
