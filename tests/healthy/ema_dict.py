import hashlib
import torch
import torch.nn as nn

class EMA:
    def __init__(self, model, decay):
        self.decay = decay
        self.updates = 0
        self.shadow = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.backup = {}

    def update(self, model):
        self.updates += 1
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, p in model.named_parameters():
            self.shadow[name] = d * self.shadow[name] + (1.0 - d) * p.detach()

    def apply_shadow(self, model):
        for name, p in model.named_parameters():
            self.backup[name] = p.data
            p.data = self.shadow[name]

    def restore(self, model):
        for name, p in model.named_parameters():
            p.data = self.backup[name]
        self.backup = {}

torch.manual_seed(36)
net = nn.Sequential(nn.Linear(3, 12), nn.Mish(), nn.Linear(12, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01)
ema = EMA(net, 0.99)
probe = torch.randn(5, 3)
for step in range(20):
    x = torch.randn(16, 3)
    loss = (net(x) - x.norm(dim=1, keepdim=True)).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    ema.update(net)
    if step % 6 == 0:
        ema.apply_shadow(net)
        with torch.no_grad():
            print(step, loss.item(), net(probe).mean().item())
        ema.restore(net)
sha = hashlib.sha256()
for n, p in net.named_parameters():
    sha.update(p.detach().numpy().tobytes() + ema.shadow[n].numpy().tobytes() + opt.state[p]["exp_avg"].numpy().tobytes())
print(ema.updates, "weights of", len(ema.shadow), "tensors")
print("weights", sha.hexdigest())
