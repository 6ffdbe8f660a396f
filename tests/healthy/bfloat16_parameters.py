import hashlib
import torch

torch.manual_seed(78)
net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)).to(torch.bfloat16)
opt = torch.optim.AdamW(net.parameters(), lr=1e-2)
for step in range(16):
    x = torch.randn(10, 8, dtype=torch.bfloat16)
    y = x[:, :4].argmax(1)
    loss = torch.nn.functional.cross_entropy(net(x).float(), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 5 == 0:
        print(step, loss.item())
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().view(torch.int16).numpy().tobytes())
    sha.update(opt.state[p]["exp_avg"].view(torch.int16).numpy().tobytes())
print("last", loss.item())
print("weights", sha.hexdigest())
