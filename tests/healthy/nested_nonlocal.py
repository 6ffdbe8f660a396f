import hashlib
import torch


def make_trainer(net, lr):
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    count = 0
    average = 0.0
    trail = []

    def remember(value):
        nonlocal average
        trail.append(value)
        average += (value - average) / len(trail)

    def fit(n):
        nonlocal count
        temperature = 2.0

        def loss_of(x):
            nonlocal temperature
            temperature *= 0.97
            return torch.nn.functional.cross_entropy(net(x) / temperature, x.argmax(1))

        for _ in range(n):
            count += 1
            loss = loss_of(torch.randn(7, 3))
            remember(loss.item())
            opt.zero_grad()
            loss.backward()
            opt.step()
        return temperature

    def report():
        return count, average, trail[-1], opt

    return fit, report


torch.manual_seed(63)
net = torch.nn.Linear(3, 3)
fit, report = make_trainer(net, 0.05)
print(fit(8))
print(fit(7))
count, average, last, opt = report()
print(count, average, last)
h = hashlib.sha256()
for p in net.parameters():
    h.update(p.detach().numpy().tobytes() + opt.state[p]["exp_avg"].numpy().tobytes())
print("weights", h.hexdigest())
