# replay: none, reason: there is no loop statement round the step
import hashlib
import torch

torch.manual_seed(99)
net = torch.nn.Linear(3, 2)
opt = torch.optim.Adam(net.parameters(), lr=0.1)


def step(x):
    opt.zero_grad()
    loss = net(x).pow(2).mean()
    loss.backward()
    opt.step()
    return loss.item()


print(step(torch.randn(4, 3)))
print(step(torch.randn(4, 3)))
losses = [step(x) for x in torch.randn(8, 4, 3)]
losses += map(step, torch.randn(4, 4, 3))
print(losses[-1], len(losses))
print("weights", hashlib.sha256(net.weight.detach().numpy().tobytes() + net.bias.detach().numpy().tobytes()).hexdigest())
