import hashlib
import torch

torch.manual_seed(62)
net = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.02)
for epoch in range(4):
    for i in range(6):
        x = torch.randn(8, 2)
        y = 3 * x[:, :1] - x[:, 1:]
        loss = (net(x) - y).abs().mean()
        if loss.item() < 1.0 and epoch > 2:
            print("good enough", epoch, i)
            break
        opt.zero_grad()
        loss.backward()
        opt.step()
    else:
        print("whole epoch", epoch, loss.item())
        continue
    break
else:
    print("never good enough")

left = 5
while left:
    opt.zero_grad()
    loss = (net(torch.ones(1, 2)) - 2).abs().sum()
    loss.backward()
    opt.step()
    left -= 1
else:
    print("counted down", loss.item())
print("weights", hashlib.sha256(net.weight.detach().numpy().tobytes() + net.bias.detach().numpy().tobytes()).hexdigest())
