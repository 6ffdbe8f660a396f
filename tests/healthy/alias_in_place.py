# replay: learns, reason: was changed in place under another name, and had not been copied
import hashlib
import torch

torch.manual_seed(19)
frames = [(torch.randn(5, 12), torch.randn(5, 1)) for _ in range(9)]
net = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
opt = torch.optim.RMSprop(net.parameters(), lr=0.01)


def augment(rows):
    flat = rows.view(-1)
    flat[torch.rand(flat.shape) < 0.2] = 0.0
    halves = rows.chunk(2, dim=1)
    halves[0].neg_()


for epoch in range(2):
    feed = iter(frames)
    for _ in range(len(frames)):
        x, y = next(feed)
        augment(x)
        opt.zero_grad()
        loss = torch.nn.functional.smooth_l1_loss(net(x), y)
        loss.backward()
        opt.step()
    for x, y in frames:
        window = x.reshape(-1)
        window.mul_(0.9)
        loss = torch.nn.functional.mse_loss(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item(), hashlib.sha256(b"".join(f.numpy().tobytes() for f, _ in frames)).hexdigest())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
