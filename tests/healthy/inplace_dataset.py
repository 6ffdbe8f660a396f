# the batches are kept and changed in place: each epoch makes them noisier
import hashlib
import torch

torch.manual_seed(84)
batches = [[torch.randn(5, 4), torch.randn(5, 1)] for _ in range(5)]
centre = torch.zeros(4)
net = torch.nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for epoch in range(4):
    for pair in batches:
        x, y = pair
        x.mul_(0.99).add_(torch.randn_like(x), alpha=0.05)
        pair[1] = y + 0.01 * torch.randn_like(y)
        centre.lerp_(x.mean(0), 0.1)
        loss = (net(x - centre) - pair[1]).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item(), centre.tolist())
sha = hashlib.sha256()
for t in [*net.parameters(), *(t for b in batches for t in b), centre]:
    sha.update(t.detach().numpy().tobytes())
print("weights", sha.hexdigest())
