import hashlib
import torch
import torch.nn as nn
import torch.nn.functional as F


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 16), nn.SiLU())
        self.heads = nn.ModuleDict({"age": nn.Linear(16, 1), "kind": nn.Linear(16, 3), "flags": nn.Linear(16, 5)})
        self.log_vars = nn.ParameterDict({k: nn.Parameter(torch.zeros(())) for k in self.heads})

    def forward(self, x):
        h = self.trunk(x)
        return {k: head(h) for k, head in self.heads.items()}

    def losses(self, out, target):
        raw = {
            "age": F.l1_loss(out["age"], target["age"]),
            "kind": F.cross_entropy(out["kind"], target["kind"]),
            "flags": F.multilabel_soft_margin_loss(out["flags"], target["flags"]),
        }
        return {k: torch.exp(-self.log_vars[k]) * v + self.log_vars[k] for k, v in raw.items()}


torch.manual_seed(16)
net = MultiTask()
opt = torch.optim.ASGD(net.parameters(), lr=0.05, t0=5)
curves = {"age": [], "kind": [], "flags": [], "total": []}
for step in range(18):
    x = torch.randn(12, 8)
    target = {"age": x[:, :1].abs(), "kind": (x[:, 1] * 3).long().clamp(0, 2), "flags": (x[:, 3:] > 0).float()}
    losses = net.losses(net(x), target)
    total = sum(losses.values())
    for k, v in {**losses, "total": total}.items():
        curves[k].append(v.item())
    opt.zero_grad()
    total.backward()
    opt.step()
for k, values in curves.items():
    print(k, values[0], values[-1], len(values))
sha = hashlib.sha256()
for n, v in net.state_dict().items():
    sha.update(n.encode() + v.numpy().tobytes())
for st in opt.state.values():
    sha.update(st["ax"].numpy().tobytes())
print("weights", sha.hexdigest())
