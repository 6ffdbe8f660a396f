# Gaussian process regression: kernel width, amplitude and noise from the marginal likelihood.
import hashlib
import math
import torch

torch.manual_seed(0)
N = 40
x = torch.sort(torch.rand(N) * 6 - 3).values
y = torch.sin(2 * x) + 0.3 * x


class ExactGP(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.log_width = torch.nn.Parameter(torch.tensor(-0.5))
        self.log_amplitude = torch.nn.Parameter(torch.tensor(0.0))
        self.log_noise = torch.nn.Parameter(torch.tensor(-1.0))

    def kernel(self, a, b):
        d2 = (a[:, None] - b[None, :]) ** 2
        return torch.exp(2 * self.log_amplitude) * torch.exp(-0.5 * d2 * torch.exp(-2 * self.log_width))

    def neg_log_evidence(self, x, y):
        K = self.kernel(x, x) + (torch.exp(2 * self.log_noise) + 1e-4) * torch.eye(len(x))
        L = torch.linalg.cholesky(K)
        alpha = torch.cholesky_solve(y[:, None], L)
        return 0.5 * (y @ alpha[:, 0]) + L.diagonal().log().sum() + 0.5 * len(x) * math.log(2 * math.pi)


gp = ExactGP()
opt = torch.optim.Adam(gp.parameters(), lr=0.05)


def closure():
    opt.zero_grad()
    nll = gp.neg_log_evidence(x, y) / N
    nll.backward()
    return nll


for step in range(200):
    value = opt.step(closure)
    if step % 10 == 0:
        print(step, "%.4f" % value.item(), "noise %.5f" % math.exp(gp.log_noise.item()))

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in gp.parameters())).hexdigest())
