# Mixture of linear experts for the diabetes data; which expert answers is drawn with the Gumbel trick,
# and the draw is made harder as training goes on. Functional, no nn.Module.
import hashlib
import math
import torch
from sklearn.datasets import load_diabetes

gen = torch.Generator().manual_seed(3)
data = load_diabetes()
X = torch.tensor(data.data, dtype=torch.float32) * 20
Y = torch.tensor(data.target, dtype=torch.float32)
Y = (Y - Y.mean()) / Y.std()
X, Y = X[:400], Y[:400]

K, D, STEPS, BATCH = 4, X.shape[1], 700, 40
TAU_START, TAU_END = 1.0, 0.02

params = {
    "gate_w": 0.1 * torch.randn(D, K, generator=gen),
    "gate_b": torch.zeros(K),
    "expert_w": 0.1 * torch.randn(D, K, generator=gen),
    "expert_b": torch.zeros(K),
}
for p in params.values():
    p.requires_grad_()


def gumbel(shape):
    u = torch.rand(shape, generator=gen).clamp(1e-6, 1 - 1e-6)
    return -torch.log(-torch.log(u))


def choose(scores, tau):
    return torch.softmax((scores + gumbel(scores.shape)) / tau, dim=1)


def predict(p, x, tau):
    gate = choose(x @ p["gate_w"] + p["gate_b"], tau)
    return (gate * (x @ p["expert_w"] + p["expert_b"])).sum(1)


def temperature(step):
    return TAU_START * (TAU_END / TAU_START) ** (step / STEPS)


opt = torch.optim.Adam(params.values(), lr=0.01)
running = None
for step in range(STEPS):
    idx = torch.randint(len(X), (BATCH,), generator=gen)
    loss = (predict(params, X[idx], temperature(step)) - Y[idx]).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
    if step % 50 == 49:
        print("step %d tau %.3f mse %.3f" % (step + 1, temperature(step), running))

digest = hashlib.sha256()
for name in sorted(params):
    digest.update(params[name].detach().numpy().tobytes())
print("weights", digest.hexdigest())
