import hashlib, torch

torch.manual_seed(64)
losses = {
    "l1": lambda a, b: (a - b).abs().mean(),
    "l2": lambda a, b: (a - b).pow(2).mean(),
    "log": lambda a, b: ((a - b).cosh().log()).mean(),
}
step = (lambda o, l: (o.zero_grad(), l.backward(), o.step(), l.item())[-1])
net = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
data = iter([torch.randn(8, 3) for _ in range(24)])
i = 0
while (x := next(data, None)) is not None:
    name = list(losses)[i % 3]
    if (value := losses[name](net(x), x[:, :1])).item() > 0.01:
        opt.zero_grad()
        value.backward()
        opt.step()
    print(i, name, f"{(v := value.item()):.8f}")
    if (i := i + 1) == 18:
        break
for x in data:
    v = step(opt, losses["l2"](net(x), x[:, :1]))
print(v)
print("weights", hashlib.sha256(b"".join(bytes(p.detach().numpy()) for p in net.parameters())).hexdigest())
