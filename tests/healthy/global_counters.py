import hashlib
import torch

global_step = 0
examples_seen = 0
best = None
log = []
stats = {"max": 0.0, "calls": {"forward": 0, "batch": 0}}


def next_batch():
    global examples_seen
    stats["calls"]["batch"] += 1
    examples_seen += 6
    return torch.randn(6, 3)


def compute_loss(net, x):
    global best
    stats["calls"]["forward"] += 1
    loss = net(x).pow(2).mean() + 0.1 * global_step / (1 + global_step) * net.weight.pow(2).sum()
    if best is None or loss.item() < best:
        best = loss.item()
        log.append((global_step, best))
    stats["max"] = max(stats["max"], loss.item())
    return loss


def main():
    global global_step
    net = torch.nn.Linear(3, 2)
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    while global_step < 17:
        x = next_batch()
        loss = compute_loss(net, x)
        opt.zero_grad()
        loss.backward()
        opt.step()
        global_step += 1
    return net, loss


torch.manual_seed(55)
net, loss = main()
print(global_step, examples_seen, best, stats, log)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
