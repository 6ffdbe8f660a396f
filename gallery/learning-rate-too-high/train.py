"""Linear regression on twenty correlated measurements, with plain SGD."""

import hashlib
import logging
import sys

import torch
import torch.nn.functional as F

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
log = logging.getLogger("regression")


def make_data(rows=400, columns=20):
    shared = torch.randn(rows, 1)
    x = 0.7 * shared + 0.7 * torch.randn(rows, columns)
    y = x @ torch.linspace(-1, 1, columns)[:, None] + 0.1 * torch.randn(rows, 1)
    return x, y


def batches(x, y, size):
    while True:
        order = torch.randperm(len(x))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            yield x[rows], y[rows]


def fit(lr, steps):
    x, y = make_data()
    model = torch.nn.Linear(x.shape[1], 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    stream = batches(x, y, size=100)
    for step in range(steps):
        inputs, targets = next(stream)
        optimizer.zero_grad()
        prediction = model(inputs)
        loss = F.mse_loss(prediction, targets)  # <- origin
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            log.info("step %3d  loss %.4g", step, loss.item())
    return model, loss.item()


torch.manual_seed(42)
model, final = fit(lr=0.12, steps=160)  # <- fault
log.info("final loss %r", final)
log.info("weights %s", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
