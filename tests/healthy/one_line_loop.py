import torch as T, hashlib; T.manual_seed(90)
n = T.nn.Linear(2, 1); o = T.optim.SGD(n.parameters(), lr=.1); D = [(T.randn(4, 2), T.randn(4, 1)) for _ in range(12)]
for x, y in D: o.zero_grad(); l = ((n(x) - y)**2).mean(); l.backward(); o.step()
print(l.item())
for x, y in D[:6]: n.zero_grad(); l = (n(x) - y).abs().mean(); l.backward(); o.step(); print(l.item()) if l.item() > .5 else None
i = 0
while i < 6: i += 1; o.zero_grad(); (l := n(D[i][0]).pow(2).sum()).backward(); o.step()
print(l.item()); print("weights", hashlib.sha256(n.weight.data.numpy().tobytes() + n.bias.data.numpy().tobytes()).hexdigest())
