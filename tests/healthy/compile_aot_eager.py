import hashlib

import torch
import torch.nn as nn

torch.manual_seed(30)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(5, 20)
        self.b = nn.Linear(20, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += x.shape[0]
        return self.b(nn.functional.dropout(torch.relu(self.a(x)), 0.1, self.training))


net = Net()
fast = torch.compile(net, backend="aot_eager")
opt = torch.optim.Adam(fast.parameters(), lr=1e-2)
for i in range(12):
    x = torch.randn(16, 5)
    loss = nn.functional.mse_loss(fast(x), x[:, :1] ** 2)
    opt.zero_grad()
    loss.backward()
    opt.step()
    print(i, loss.item())

sha = hashlib.sha256()
for v in net.state_dict().values():
    sha.update(v.numpy().tobytes())
for s in opt.state.values():
    sha.update(s["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
