import hashlib
import torch
from sampling import draw, drawn

torch.manual_seed(0)
w = torch.nn.Linear(6, 1)
o = torch.optim.Adamax(w.parameters(), lr=0.05)
for i in range(14):
    a, b = draw(9)
    l = (w(a)[:, 0] - b).pow(2).mean()
    o.zero_grad()
    l.backward()
    o.step()
    print(i, float(l))
print("sizes", drawn)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in w.parameters()) + b"".join(
    v.numpy().tobytes() for s in o.state.values() for v in s.values())).hexdigest())
