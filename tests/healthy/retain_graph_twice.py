import hashlib
import torch
import torch.nn as nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(4, 6)
        self.left, self.right = nn.Linear(6, 1), nn.Linear(6, 1)

    def forward(self, x):
        h = torch.tanh(self.shared(x))
        return self.left(h), self.right(h)


torch.manual_seed(87)
net = Two()
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for i in range(16):
    x = torch.randn(8, 4)
    a, b = net(x)
    l1 = nn.functional.mse_loss(a, x[:, :1])
    l2 = nn.functional.l1_loss(b, x[:, 1:2].abs())
    opt.zero_grad()
    l1.backward(retain_graph=True)
    first = net.shared.weight.grad.clone()
    l2.backward()
    # project away the part of the second gradient that undoes the first
    second = net.shared.weight.grad - first
    dot = (first * second).sum()
    if dot < 0:
        net.shared.weight.grad.sub_(dot / first.square().sum() * first)
    opt.step()
    print(i, l1.item(), l2.item(), bool(dot < 0))
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes() + opt.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
