import hashlib
import torch

torch.manual_seed(60)
net = torch.nn.Linear(3, 2)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
bad, tidy = 0, 0


class BadBatch(Exception):
    pass


def load(i):
    if i % 7 == 3:
        raise BadBatch(f"batch {i} is damaged")
    return torch.randn(4, 3)


for i in range(20):
    try:
        x = load(i)
        loss = torch.nn.functional.mse_loss(net(x), x[:, :2])
        if i % 5 == 4:
            raise RuntimeError("out of luck")
        opt.zero_grad()
        loss.backward()
        opt.step()
    except BadBatch as e:
        bad += 1
        print("skipped:", e)
        continue
    except RuntimeError as e:
        print("caught:", e, i)
    else:
        print(i, loss.item())
    finally:
        tidy += 1
print(bad, tidy)
try:
    net(torch.zeros(1, 5))
except RuntimeError as e:
    print(str(e))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
