import hashlib

import torch
from torch.func import functional_call

torch.manual_seed(71)
net = torch.nn.Sequential(torch.nn.Linear(2, 10), torch.nn.BatchNorm1d(10), torch.nn.Tanh(), torch.nn.Linear(10, 1))
params = {k: v.detach().clone().requires_grad_() for k, v in net.named_parameters()}
buffers = dict(net.named_buffers())
opt = torch.optim.Adam(params.values(), lr=0.02)
for i in range(16):
    x = torch.rand(12, 2)
    out = functional_call(net, (params, buffers), (x,))
    loss = torch.nn.functional.mse_loss(out, x.sum(1, keepdim=True).sin())
    opt.zero_grad()
    loss.backward()
    opt.step()
    if i % 5 == 0:
        print(i, loss.item())
sha = hashlib.sha256()
for name in sorted(params):
    sha.update(params[name].detach().numpy().tobytes() + opt.state[params[name]]["exp_avg"].numpy().tobytes())
for name in sorted(buffers):
    sha.update(buffers[name].numpy().tobytes())
print("weights", sha.hexdigest())
