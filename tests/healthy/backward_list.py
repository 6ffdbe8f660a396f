import hashlib
import torch

torch.manual_seed(88)
f, g = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
of = torch.optim.SGD(f.parameters(), lr=0.05)
og = torch.optim.Adam(g.parameters(), lr=0.05)
for t in range(13):
    x = torch.randn(7, 3)
    l1 = (f(x) - g(x).detach()).pow(2).mean() + f(x).pow(2).mean()
    l2 = (g(x) - x[:, :2]).abs().mean()
    vec = (g(x) + 1).log1p() if False else (g(x) * f(x).detach()).mean(0)
    of.zero_grad(); og.zero_grad()
    torch.autograd.backward([l1, l2])
    vec.backward(torch.tensor([0.1, -0.1]))
    of.step(); og.step()
    print(t, l1.item(), l2.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for m in (f, g) for p in m.parameters())
                                + b"".join(s["exp_avg_sq"].numpy().tobytes() for s in og.state.values())).hexdigest())
