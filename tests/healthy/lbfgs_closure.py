import hashlib
import torch

torch.manual_seed(17)
seq = torch.sin(torch.linspace(0, 12, 120)).view(6, 20) + 0.05 * torch.randn(6, 20)
net = torch.nn.Sequential(torch.nn.Linear(5, 10), torch.nn.Tanh(), torch.nn.Linear(10, 1)).double()
windows = seq.unfold(1, 6, 1).reshape(-1, 6).double()
x, y = windows[:, :5], windows[:, 5:]
optimizer = torch.optim.LBFGS(net.parameters(), lr=0.8, max_iter=5, history_size=6)
evaluations = 0

for i in range(7):
    print('STEP: ', i)
    def closure():
        global evaluations
        evaluations += 1
        optimizer.zero_grad()
        out = net(x)
        loss = torch.nn.functional.mse_loss(out, y)
        print('loss:', loss.item())
        loss.backward()
        return loss
    optimizer.step(closure)

print("evaluations", evaluations)
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes())
state = optimizer.state[optimizer._params[0]]
for d in state["old_dirs"]:
    sha.update(d.numpy().tobytes())
sha.update(state["prev_flat_grad"].numpy().tobytes())
print("weights", sha.hexdigest())
