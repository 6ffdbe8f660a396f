"""The scaler starts far too high: its first steps overflow in float16 and are skipped, as designed."""
import hashlib

import torch


def main():
    torch.manual_seed(27)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=100)
    skipped = 0
    for k in range(24):
        x = torch.randn(10, 4)
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = (net(x) - x[:, :2]).float().square().mean()
        scaler.scale(loss).backward()
        before = scaler.get_scale()
        scaler.step(opt)
        scaler.update()
        skipped += scaler.get_scale() < before
        print(k, "%.7f" % loss.item(), scaler.get_scale())
    print("skipped", skipped)
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest()


print("weights", main())
