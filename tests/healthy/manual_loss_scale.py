# fixed loss scale by hand: scale the loss, unscale the master gradients, halve on overflow
import hashlib
import torch

torch.manual_seed(25)
half = torch.nn.Sequential(torch.nn.Linear(6, 10), torch.nn.ReLU(), torch.nn.Linear(10, 1)).to(torch.float16)
master = [p.detach().clone().float().requires_grad_() for p in half.parameters()]
opt = torch.optim.SGD(master, lr=0.02, momentum=0.9)
scale = 128.0
good = 0

for i in range(21):
    x = torch.randn(16, 6)
    y = x.sum(1, keepdim=True)
    out = half(x.half())
    loss = (out.float() - y).pow(2).mean()
    half.zero_grad()
    (loss * scale).backward()
    overflow = False
    for m, p in zip(master, half.parameters()):
        m.grad = p.grad.float() / scale
        overflow = overflow or not torch.isfinite(m.grad).all()
    if overflow:
        scale /= 2
        good = 0
        print("skip, scale", scale)
        continue
    torch.nn.utils.clip_grad_norm_(master, 5.0)
    opt.step()
    with torch.no_grad():
        for m, p in zip(master, half.parameters()):
            p.copy_(m)
    good += 1
    if good % 10 == 0:
        scale *= 2
    print(i, loss.item(), scale)

s = hashlib.sha256()
for m, p in zip(master, half.parameters()):
    s.update(m.detach().numpy().tobytes())
    s.update(p.detach().numpy().tobytes())
    s.update(opt.state[m]["momentum_buffer"].numpy().tobytes())
print("weights", s.hexdigest())
