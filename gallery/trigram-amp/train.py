"""Next character of Python source from the five before it; float16 forward passes, float32 weights."""
import hashlib
import inspect
import textwrap

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(3)
device = "cpu"
text = inspect.getsource(textwrap)
chars = sorted(set(text))
codes = torch.tensor([chars.index(c) for c in text])
context = codes.unfold(0, 6, 1)

net = nn.Sequential(nn.Embedding(len(chars), 16), nn.Flatten(), nn.Linear(80, 96), nn.GELU(), nn.Linear(96, len(chars)))
net.to(device)
opt = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
sched = torch.optim.lr_scheduler.LinearLR(opt, 0.2, 1.0, total_iters=40)
scaler = torch.amp.GradScaler(device)
ema = None

for it in range(420):
    rows = context[torch.randint(len(context), (96,))]
    opt.zero_grad(set_to_none=True)
    with torch.autocast(device, dtype=torch.float16):
        loss = F.cross_entropy(net(rows[:, :5]), rows[:, 5])
    scaler.scale(loss).backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)  # <- fault
    scaler.step(opt)
    scaler.update()
    sched.step()
    ema = loss.item() if ema is None else 0.95 * ema + 0.05 * loss.item()
    if it % 60 == 59:
        print(f"it {it + 1:3d} | loss {ema:.3f} | lr {sched.get_last_lr()[0]:.2f}")

print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
