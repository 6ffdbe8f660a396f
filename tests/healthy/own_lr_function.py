import hashlib
import math
import torch

torch.manual_seed(41)


def adjust_learning_rate(optimizer, step, args):
    """Half-cycle cosine after a linear warm-up."""
    if step < args["warmup"]:
        lr = args["lr"] * (step + 1) / args["warmup"]
    else:
        lr = args["lr"] * 0.5 * (1.0 + math.cos(math.pi * (step - args["warmup"]) / (args["steps"] - args["warmup"])))
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    return lr


args = dict(lr=0.05, warmup=5, steps=20)
body, head = torch.nn.Linear(6, 10), torch.nn.Linear(10, 2)
optimizer = torch.optim.SGD([{"params": body.parameters(), "lr_scale": 0.1}, {"params": head.parameters()}], lr=0.0, momentum=0.9)
for step in range(args["steps"]):
    x = torch.rand(12, 6)
    y = (x.sum(1) > 3).long()
    loss = torch.nn.functional.cross_entropy(head(body(x).relu()), y)
    lr = adjust_learning_rate(optimizer, step, args)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print("%d lr=%.8f loss=%.8f" % (step, lr, loss.item()))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for m in (body, head) for p in m.parameters())).hexdigest())
