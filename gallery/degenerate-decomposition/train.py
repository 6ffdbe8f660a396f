"""Gaussian process regression: learn length scale and noise by maximum likelihood."""

import hashlib
import math

import torch


class GaussianProcess(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.length = torch.nn.Parameter(torch.tensor(0.5))
        self.noise = torch.nn.Parameter(torch.tensor(0.2))

    def covariance(self, x):
        squared = (x[:, None] - x[None, :]) ** 2
        return torch.exp(-squared / (2 * self.length**2)) + self.noise * torch.eye(len(x))

    def negative_log_likelihood(self, x, y):
        factor = torch.linalg.cholesky(self.covariance(x))  # <- origin
        white = torch.linalg.solve_triangular(factor, y[:, None], upper=False)
        return 0.5 * (white**2).sum() + factor.diagonal().log().sum() + 0.5 * len(x) * math.log(2 * math.pi)


x = torch.linspace(-2, 2, 40)
y = torch.sin(3 * x)
process = GaussianProcess()
optimizer = torch.optim.Adam(process.parameters(), lr=0.01)
for iteration in range(60):
    optimizer.zero_grad()
    loss = process.negative_log_likelihood(x, y)
    loss.backward()
    optimizer.step()
    if iteration % 4 == 0:
        print(f"{iteration:3d} nll {loss.item():9.4f} length {process.length.item():.4f} noise {process.noise.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in process.parameters())).hexdigest())
