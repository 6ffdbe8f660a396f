import hashlib
import torch
from torch.func import functional_call

torch.manual_seed(101)
net = torch.nn.Sequential(torch.nn.Linear(1, 12), torch.nn.Tanh(), torch.nn.Linear(12, 1))
meta = torch.optim.Adam(net.parameters(), lr=3e-3)


def task():
    amplitude, phase = torch.rand(2) * torch.tensor([2.0, 3.0]) + 0.5
    def sample(n):
        x = torch.rand(n, 1) * 6 - 3
        return x, amplitude * torch.sin(x + phase)
    return sample


def loss_with(params, xy):
    return torch.nn.functional.mse_loss(functional_call(net, params, (xy[0],)), xy[1])


for episode in range(10):
    meta.zero_grad()
    outer = 0.0
    for _ in range(3):
        sample = task()
        fast = dict(net.named_parameters())
        support = sample(6)
        for _ in range(2):
            grads = torch.autograd.grad(loss_with(fast, support), fast.values(), create_graph=True)
            fast = {k: w - 0.05 * g for (k, w), g in zip(fast.items(), grads)}
        outer = outer + loss_with(fast, sample(6)) / 3
    outer.backward()
    meta.step()
    print(episode, outer.item())
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes() + meta.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
