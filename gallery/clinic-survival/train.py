"""Weibull survival regression, gradient descent by hand."""
import hashlib
import warnings

import torch
from cohort import cohort, covariates

warnings.simplefilter("ignore")


def log_likelihood(theta, x, time, event):
    w, b, log_shape = theta
    log_rate = x @ w + b
    shape = log_shape.exp()
    log_time = time.log()
    log_hazard = log_shape + log_rate + (shape - 1) * (log_time + log_rate)
    cumulative = (shape * (log_time + log_rate)).exp()
    return event * log_hazard - cumulative


def epoch(theta, tables, rate, batch):
    total = 0.0
    n = len(tables[0])
    for rows in torch.randperm(n).split(batch):
        loss = -log_likelihood(theta, *(t[rows] for t in tables)).mean()  # <- origin
        for p in theta:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            for p in theta:
                p -= rate * p.grad
        total += loss.item() * len(rows)
    return total / n


def main():
    torch.manual_seed(41)
    frame = cohort()
    tables = (
        torch.from_numpy(covariates(frame)),
        torch.tensor(frame.time.to_numpy(), dtype=torch.float32).clamp(min=1e-3),
        torch.tensor(frame.event.to_numpy(), dtype=torch.float32),
    )
    theta = [torch.zeros(4), torch.tensor(-1.0), torch.tensor(0.0)]
    for p in theta:
        p.requires_grad_()
    for k in range(6):
        print(f"epoch {k + 1}: negative log likelihood {epoch(theta, tables, 0.02, 30):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in theta)).hexdigest())


if __name__ == "__main__":
    main()
