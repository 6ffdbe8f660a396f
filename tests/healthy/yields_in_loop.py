# replay: none, reason: the loop body yields
import hashlib
import torch


def training(net, opt, steps):
    for step in range(steps):
        x = torch.randn(6, 2)
        loss = (net(x) - x[:, :1]).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        yield step, loss.item()
        opt.step()


torch.manual_seed(98)
net = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for step, value in training(net, opt, 12):
    print(step, value)
    if value < 0.01:
        break
print("weights", hashlib.sha256(net.weight.detach().numpy().tobytes() + net.bias.detach().numpy().tobytes()).hexdigest())
