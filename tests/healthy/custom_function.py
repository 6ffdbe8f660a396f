import hashlib
import torch


class Straight(torch.autograd.Function):
    """Round forward, pass the gradient through where the input was in range."""

    calls = 0

    @staticmethod
    def forward(ctx, x):
        Straight.calls += 1
        ctx.save_for_backward(x)
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 4)


class Quantised(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.codebook = torch.nn.Parameter(torch.randn(6, 3))
        self.lift = torch.nn.Linear(4, 3)
        self.register_buffer("used", torch.zeros(6))

    def forward(self, x):
        z = self.lift(x)
        z = Straight.apply(z * 4) / 4
        index = torch.cdist(z.detach(), self.codebook.detach()).argmin(1)
        self.used.index_add_(0, index, torch.ones(len(index)))
        code = self.codebook[index]
        return z + (code - z).detach(), (code - z.detach()).pow(2).mean() + 0.25 * (code.detach() - z).pow(2).mean()


torch.manual_seed(114)
net = Quantised()
opt = torch.optim.Adam(net.parameters(), lr=0.02)
for i in range(15):
    x = torch.randn(9, 4)
    code, commit = net(x)
    loss = (code - x[:, :3]).pow(2).mean() + commit
    opt.zero_grad()
    loss.backward()
    opt.step()
    if i % 5 == 0:
        print(i, loss.item(), Straight.calls, net.used.tolist())
print(Straight.calls)
sha = hashlib.sha256()
for v in net.state_dict().values():
    sha.update(v.numpy().tobytes())
for s in opt.state.values():
    sha.update(s["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
