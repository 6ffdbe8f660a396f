# replay: none, reason: the loop body yields
import hashlib

import torch


class Fit:
    def __init__(self, features, labels):
        self.features, self.labels = features, labels
        self.w = torch.zeros(features.shape[1], requires_grad=True)
        self.opt = torch.optim.LBFGS([self.w], line_search_fn="strong_wolfe", max_iter=4)
        self.trail = []

    def closure(self):
        self.opt.zero_grad()
        z = self.features @ self.w
        loss = torch.nn.functional.softplus(-z * self.labels).mean() + 1e-2 * self.w.dot(self.w)
        self.trail.append(loss.item())
        loss.backward()
        return loss

    def run(self, rounds):
        for k in range(rounds):
            first = self.opt.step(self.closure)
            yield k, first.item()


torch.manual_seed(18)
f = torch.randn(60, 4)
fit = Fit(f, torch.sign(f[:, 0] - f[:, 3] + 0.3 * torch.randn(60)))
for k, v in fit.run(5):
    print(k, v)
print(len(fit.trail), fit.trail[-1])
print("weights", hashlib.sha256(fit.w.detach().numpy().tobytes()).hexdigest())
