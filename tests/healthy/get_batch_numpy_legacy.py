import hashlib
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

np.random.seed(42)
torch.manual_seed(42)

X_all = np.random.uniform(-2, 2, size=(300, 2)).astype(np.float32)
y_all = np.sin(X_all[:, 0]) * X_all[:, 1]
y_all = y_all.astype(np.float32)[:, None]


def get_batch(bs=16):
    idx = np.random.choice(len(X_all), bs, replace=False)
    noise = np.random.normal(scale=0.01, size=(bs, 2)).astype(np.float32)
    return torch.from_numpy(X_all[idx] + noise), torch.from_numpy(y_all[idx])


net = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 1))
opt = torch.optim.Adam(net.parameters(), 5e-3)
losses = []
for it in range(20):
    xb, yb = get_batch()
    loss = F.mse_loss(net(xb), yb)
    opt.zero_grad(); loss.backward(); opt.step()
    losses.append(loss.item())
    if it % 5 == 4:
        print(it, np.mean(losses[-5:]))
print("a draw afterwards:", np.random.rand())
out = hashlib.sha256()
for p in net.parameters():
    out.update(p.data.numpy().tobytes())
    for k in ("step", "exp_avg", "exp_avg_sq"):
        out.update(opt.state[p][k].numpy().tobytes())
print("weights", out.hexdigest())
