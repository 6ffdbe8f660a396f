import hashlib
import torch

torch.manual_seed(58)
net = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.05)
skipped = {"empty": 0, "easy": 0}
for i in range(30):
    x = torch.randn(5, 3)
    keep = x[:, 0] > 0
    if not keep.any():
        skipped["empty"] += 1
        continue
    x = x[keep]
    loss = (net(x).squeeze(1) - x.sum(1)).pow(2).mean()
    if loss.item() < 0.3:
        skipped["easy"] += 1
        print("skip", i, loss.item())
        continue
    opt.zero_grad()
    loss.backward()
    if max(p.grad.abs().max() for p in net.parameters()) < 0.05:
        continue
    opt.step()
    if i % 10:
        continue
    print("done", i, loss.item())
print(skipped)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
