"""Self-exciting rate of aftershocks, one (mu, alpha, beta) for all regions, by maximum likelihood.

    rate(t) = mu + alpha * beta * sum over earlier events of exp(-beta * (t - t_j))
"""
import hashlib

import numpy as np
import torch


def catalogue(rng, days, mu=0.6, alpha=0.55, beta=2.2):
    """Thinning."""
    t, times, kick = 0.0, [], 0.0
    while True:
        bound = mu + kick
        wait = rng.exponential(1 / bound)
        t += wait
        if t > days:
            return np.array(times)
        kick *= np.exp(-beta * wait)
        if rng.random() < (mu + kick) / bound:
            times.append(t)
            kick += alpha * beta


def excitation(t, beta):
    """Sum over the events before each event of exp(-beta * (t_i - t_j))."""
    grown = torch.exp(beta * t)  # <- origin  # <- fault
    before = torch.cumsum(grown, 0) - grown
    return before / grown


def negative_log_likelihood(raw, t, days):
    mu, alpha, beta = torch.nn.functional.softplus(raw)
    rate = mu + alpha * beta * excitation(t, beta)
    compensator = mu * days + alpha * (1 - torch.exp(-beta * (days - t))).sum()
    return (compensator - rate.log().sum()) / len(t)


rng = np.random.default_rng(77)
SPANS = np.append(rng.uniform(20, 34, 35), 66.0)          # days, the last region has the oldest network
regions = [torch.tensor(catalogue(rng, days), dtype=torch.float32) for days in SPANS]
raw = torch.nn.Parameter(torch.tensor([0.5, -1.0, -0.5]))
optimizer = torch.optim.Adam([raw], lr=0.02)

for sweep in range(10):
    total = 0.0
    for i in rng.permutation(len(regions)):
        loss = negative_log_likelihood(raw, regions[i], SPANS[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    mu, alpha, beta = torch.nn.functional.softplus(raw).tolist()
    print(f"sweep {sweep}: {total / len(regions):.4f}  mu {mu:.3f} alpha {alpha:.3f} beta {beta:.3f}")
print(f"final loss {total / len(regions):.4f}")
print("weights", hashlib.sha256(raw.detach().numpy().tobytes()).hexdigest())
