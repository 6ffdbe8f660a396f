# replay: none, reason: each parameter is updated inside backward, before the next one's gradient exists
import hashlib
import torch

torch.manual_seed(96)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizers = {p: torch.optim.Adam([p], lr=0.01, foreach=False) for p in net.parameters()}


def update(p):
    optimizers[p].step()
    optimizers[p].zero_grad()


for p in net.parameters():
    p.register_post_accumulate_grad_hook(update)

for i in range(14):
    x = torch.randn(9, 4)
    loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
    loss.backward()
    print(i, loss.item())
sha = hashlib.sha256()
for p, o in optimizers.items():
    sha.update(p.detach().numpy().tobytes() + o.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
