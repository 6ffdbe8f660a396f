"""SAM as one call: step(closure) evaluates twice."""
import hashlib

import torch


class ClosureSAM(torch.optim.SGD):
    rho = 0.1

    @torch.no_grad()
    def step(self, closure):
        closure = torch.enable_grad()(closure)
        loss = closure()
        params = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        length = sum(p.grad.pow(2).sum() for p in params).sqrt().clamp_min(1e-12)
        moves = [self.rho * p.grad / length for p in params]
        for p, m in zip(params, moves):
            p.add_(m)
        closure()
        for p, m in zip(params, moves):
            p.sub_(m)
        super().step()
        return loss


torch.manual_seed(21)
w = torch.nn.Parameter(torch.randn(4, 3) / 2)
bias = torch.nn.Parameter(torch.zeros(3))
opt = ClosureSAM([w, bias], lr=0.2, momentum=0.3)
X = torch.randn(30, 4)
Y = torch.randint(3, (30,))
for n in range(12):
    pick = torch.randperm(30)[:10]

    def closure():
        opt.zero_grad()
        loss = torch.nn.functional.cross_entropy(X[pick] @ w + bias, Y[pick])
        loss.backward()
        return loss

    loss = opt.step(closure)
    print(n, loss.item())
print("weights", hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in (w, bias, opt.state[w]["momentum_buffer"], opt.state[bias]["momentum_buffer"]))).hexdigest())
