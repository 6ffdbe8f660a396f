# replay: none, reason: the step opens a file for writing before the update
import hashlib
import torch

torch.manual_seed(97)
net = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for i in range(12):
    x = torch.randn(5, 3)
    loss = (net(x) - 1).pow(2).mean()
    with open("losses.txt", "a") as f:
        f.write(f"{i} {loss.item()}\n")
    opt.zero_grad()
    loss.backward()
    opt.step()
print(open("losses.txt").read().count("\n"))
print("weights", hashlib.sha256(net.weight.detach().numpy().tobytes() + net.bias.detach().numpy().tobytes()).hexdigest())
