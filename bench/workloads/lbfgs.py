"""LBFGS: gradients are made inside the step, so parameters and moments are copied before each one."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, BATCH = 128, 512


def prepare():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1e-4, max_iter=5, history_size=10)
    batches = [(torch.randn(BATCH, 32), torch.randn(BATCH, 1)) for _ in range(16)]
    return (model, optimizer), batches


def train(model, optimizer, batches):
    for x, y in batches:
        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)


if __name__ == "__main__":
    train(*prepare()[0], prepare()[1] * 4)
