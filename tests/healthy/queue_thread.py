# replay: none, reason: the batch is taken from a queue that another thread fills
import hashlib
import queue
import threading
import torch

torch.manual_seed(95)
data = torch.randn(18, 6, 3)
full = queue.Queue(maxsize=4)


def produce():
    for batch in data:
        full.put(batch.clone())
    full.put(None)


threading.Thread(target=produce, daemon=True).start()
net = torch.nn.Linear(3, 1)
opt = torch.optim.Adam(net.parameters(), lr=0.05)
taken = 0
while True:
    x = full.get()
    if x is None:
        break
    taken += 1
    opt.zero_grad()
    loss = (net(x) - x.mean(1, keepdim=True)).abs().mean()
    loss.backward()
    opt.step()
print(taken, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
