import hashlib
import torch


def train_until(net, opt, goal, limit=40):
    """Steps needed to come below `goal`, and the loss then."""
    for n in range(limit):
        x = torch.rand(16, 2)
        loss = (net(x) - x.prod(1, keepdim=True)).pow(2).mean()
        if loss.item() < goal:
            return n, loss.item()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if n == limit - 1:
            return None, loss.item()
    raise AssertionError("not reached")


def first_step(net, opt):
    for x in torch.rand(3, 4, 2):
        opt.zero_grad()
        loss = net(x).mean()
        loss.backward()
        opt.step()
        return loss


torch.manual_seed(59)
net = torch.nn.Sequential(torch.nn.Linear(2, 10), torch.nn.Tanh(), torch.nn.Linear(10, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.02)
for goal in (0.05, 0.02, 0.0):
    print(goal, *train_until(net, opt, goal))
print(first_step(net, opt).item())
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes()); sha.update(opt.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
