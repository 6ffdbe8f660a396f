import hashlib

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

torch.manual_seed(35)
model = torch.nn.Sequential(torch.nn.Conv1d(2, 6, 3), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(36, 2))
ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
losses = []
for step in range(16):
    x = torch.randn(10, 2, 8)
    y = (x[:, 0].sum(1) > x[:, 1].sum(1)).long()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    losses.append(loss.item())
    opt.zero_grad()
    loss.backward()
    opt.step()
    ema.update_parameters(model)
print(losses[-2:], int(ema.n_averaged))
h = hashlib.sha256()
for source in (model.state_dict(), ema.state_dict()):
    for v in source.values():
        h.update(v.numpy().tobytes())
for p in model.parameters():
    h.update(opt.state[p]["momentum_buffer"].numpy().tobytes())
print("weights", h.hexdigest())
