import hashlib
import torch

torch.manual_seed(44)
T, B, H = 60, 3, 8
wave = torch.sin(torch.arange(T + 1).float().unsqueeze(1) * torch.tensor([0.3, 0.5, 0.7])).unsqueeze(2)
cell = torch.nn.GRU(1, H)
out = torch.nn.Linear(H, 1)
opt = torch.optim.Adam(list(cell.parameters()) + list(out.parameters()), lr=0.01)
h = None
memories = []
for start in range(0, T, 6):
    chunk = wave[start:start + 6]
    target = wave[start + 1:start + 7]
    if h is not None:
        h = h.detach()
    y, h = cell(chunk, h)
    loss = (out(y) - target).pow(2).mean()
    memories.append(h)
    if len(memories) > 2:
        memories.pop(0)
    opt.zero_grad()
    loss.backward()
    opt.step()
    print(start, loss.item(), h.norm().item())
s = hashlib.sha256()
for p in [*cell.parameters(), *out.parameters()]:
    s.update(p.detach().numpy().tobytes())
    s.update(opt.state[p]["exp_avg"].numpy().tobytes())
s.update(torch.stack(memories).detach().numpy().tobytes())
print("weights", s.hexdigest())
