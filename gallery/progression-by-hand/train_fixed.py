# lasso for the diabetes study, stochastic subgradients, no optimizer class
import hashlib

import torch
from sklearn.datasets import load_diabetes

torch.manual_seed(0)
d = load_diabetes(scaled=False)
X = torch.tensor((d.data - d.data.mean(0)) / d.data.std(0), dtype=torch.float32)
y = torch.tensor((d.target - d.target.mean()) / d.target.std(), dtype=torch.float32)
w, b = torch.zeros(10, requires_grad=True), torch.zeros((), requires_grad=True)
lr, lam = 1e-3, 0.01
for t in range(200):
    i = torch.randint(len(X), (20,))
    r = X[i] @ w + b - y[i]
    J = (r * r).mean() + lam * w.abs().sum()
    J.backward()
    with torch.no_grad():
        for p in (w, b):
            p -= lr * p.grad
            p.grad = None
    if t % 40 == 0: print(t, J.item())
print("weights", hashlib.sha256(w.detach().numpy().tobytes() + b.detach().numpy().tobytes()).hexdigest())
