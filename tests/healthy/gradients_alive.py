"""Gradients cross the borders of the loop body: the update comes first, the backward last."""
import hashlib
import torch

torch.manual_seed(100)
net = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.02)


def criterion():
    x = torch.randn(8, 3)
    return (net(x) - x.sum(1, keepdim=True)).abs().mean()


loss = criterion()
loss.backward()
for i in range(10):
    opt.step()
    opt.zero_grad()
    loss = criterion()
    loss.backward()
    print(i, loss.item())

# and: gradients decay instead of being dropped
for i in range(9):
    loss = criterion()
    loss.backward()
    opt.step()
    for p in net.parameters():
        p.grad.mul_(0.5)
    print(i, loss.item())
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes() + p.grad.numpy().tobytes() + opt.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
