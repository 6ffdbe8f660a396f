"""Names that are deleted, bound only sometimes, tested for, shadowed."""
import hashlib
import torch

torch.manual_seed(92)
net = torch.nn.Linear(4, 2)
opt = torch.optim.Adam(net.parameters(), lr=0.05)
sum = 0.0
attempt = "mine"
for step in range(20):
    x = torch.randn(6, 4)
    if step % 4 == 1:
        extra = torch.randn(2)
    try:
        best
    except NameError:
        best = float("inf")
    if "slowest" not in globals():
        slowest = step
    out = net(x)
    if step % 4 == 1:
        out = out + 0.01 * extra
        del extra
    loss = torch.nn.functional.mse_loss(out, x[:, [0, 2]])
    best = min(best, loss.item())
    last_parts = [p.detach().sum().item() for p in net.parameters() for _ in range(1)]
    _, step_squared = (lambda s: (s, s * s))(step)
    opt.zero_grad()
    loss.backward()
    opt.step()
    sum += loss.item()
    value = loss.item()
    del x, out, loss
print("x" in globals(), "loss" in globals(), "extra" in globals(), slowest, best, sum, step_squared, attempt, value)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
