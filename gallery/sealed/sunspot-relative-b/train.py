import hashlib, torch
from statsmodels.datasets import sunspots
from torch import nn

torch.manual_seed(0)
s = torch.tensor(sunspots.load_pandas().data.SUNACTIVITY.to_numpy(), dtype=torch.float32)
k = 11
x, y = s.unfold(0, k, 1)[:-1] / 50, s[k:]
net = nn.Sequential(nn.Linear(k, 32), nn.Tanh(), nn.Linear(32, 1), nn.Softplus())
opt = torch.optim.NAdam(net.parameters(), lr=4e-3)


def relative_error(p, y):
    return ((p - y) / y).abs()  # <- origin  # <- fault


for epoch in range(40):
    total = 0.0
    for xb, yb in zip(x.split(16), y.split(16)):
        p = 50 * net(xb).squeeze(1)
        loss = relative_error(p, yb).mean()
        opt.zero_grad(); loss.backward(); opt.step()
        total += loss.item() * len(yb)
        if epoch == 0: print(f"  {loss.item():.4f}")
    if epoch % 5 == 0: print(epoch, f"{total / len(x):.4f}")

print(f"final loss {total / len(x):.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
