"""Fitting the parameters of a damped oscillation by gradient descent, with a polynomial first, as in a physics lab course."""

import hashlib

import torch


def oscillation(t, amplitude, damping, omega):
    return amplitude * torch.exp(-damping * t) * torch.cos(omega * t)


def measure(points, noise, generator):
    t = torch.linspace(0, 4, points)
    clean = oscillation(t, torch.tensor(2.0), torch.tensor(0.6), torch.tensor(5.0))
    return t, clean + noise * torch.randn(points, generator=generator)


class Fit(torch.nn.Module):
    def __init__(self, degree, scale):
        super().__init__()
        self.scale = scale
        self.coefficients = torch.nn.Parameter(torch.zeros(degree + 1))

    def forward(self, t):
        powers = torch.stack([(t / self.scale) ** k for k in range(len(self.coefficients))], dim=-1)
        return powers @ self.coefficients


def train(model, t, y, rate, rounds):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, nesterov=True)  # <- fault
    for number in range(rounds):
        residual = model(t) - y
        loss = residual.square().mean()  # <- origin
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
        if number % 40 == 0:
            print(f"round {number:3d} residual {loss.item():.4f}")
    return model


if __name__ == "__main__":
    torch.manual_seed(0)
    t, y = measure(64, 0.05, torch.Generator().manual_seed(4))
    fitted = train(Fit(degree=9, scale=4.0), t, y, rate=1.2, rounds=300)  # <- fault
    print("weights", hashlib.sha256(fitted.coefficients.detach().numpy().tobytes()).hexdigest())
