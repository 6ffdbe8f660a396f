import torch, hashlib
import torch.nn as nn

def train_step(model, optimizer, x, y):
    optimizer.zero_grad()
    pred = model(x)
    loss = ((pred - y) ** 2).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return loss.item()

torch.manual_seed(2)
net = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01)
X = torch.randn(120, 3)
Y = (X ** 2).sum(1, keepdim=True)
losses = []
for i in range(0, 120, 10):
    loss = train_step(net, opt, X[i:i+10], Y[i:i+10])
    losses.append(loss)
    print(i, loss)
m = hashlib.sha256()
[m.update(bytes(p.detach().numpy())) for p in net.parameters()]
[m.update(bytes(v.numpy())) for s in opt.state.values() for v in s.values()]
print(losses[-3:])
print("weights", m.hexdigest())
