import hashlib
import threading
import torch

result = {}


def train(name, seed):
    gen = torch.Generator().manual_seed(seed)
    net = torch.nn.Linear(3, 1)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.rand(p.shape, generator=gen))
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(12):
        x = torch.randn(6, 3, generator=gen)
        loss = (net(x) - x.sum(1, keepdim=True)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    result[name] = loss.item(), b"".join(p.detach().numpy().tobytes() for p in net.parameters())


torch.manual_seed(112)
for name, seed in (("first", 1), ("second", 2)):
    t = threading.Thread(target=train, args=(name, seed), name=name)
    t.start()
    t.join()
print({k: v[0] for k, v in result.items()})
print("weights", hashlib.sha256(b"".join(v[1] for v in result.values())).hexdigest())
